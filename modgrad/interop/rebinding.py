"""What a model written for PyTorch does in place, done out of place on Variables: `x += y`, `F.relu(x, inplace=True)`.

A Variable is never changed in place. Such a function, and inside a converted forward such an operator too, gives a new
Variable, which the model binds to the name as a rule, as in `out += identity`; and the old one is spent: whoever still
uses it, and would see its changed value in PyTorch, is told so by an error. So is who changes what shares memory with
others.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from sys import getrefcount
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from modgrad.graph import Variable, dispatch
from modgrad.graph.call import is_variable
from modgrad.graph.mode import mode, switched

_T: Any = Tensor


class _Inside(threading.local):
    depth = 0  # of converted forwards


_inside = _Inside()


@contextmanager
def rebinding() -> Iterator[None]:
    """Around a forward that was written for PyTorch."""
    _inside.depth += 1
    try:
        yield
    finally:
        _inside.depth -= 1


class Spent(Variable):
    """What was a Variable until something was done to it in place. Any use but of its shape raises."""

    _by: str

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise _error(next(x for x in _flat((args, kwargs or {})) if isinstance(x, Spent)))

    def detach(self) -> Tensor:
        raise _error(self)

    def item(self) -> Any:
        raise _error(self)

    def backward(self, *args: Any, **kwargs: Any) -> None:
        raise _error(self)

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return f"Variable of shape {tuple(self.shape)}, spent by {self._by}"


class _SpentSource:
    """In the place of a spent value's source while a step is traced, where there are no Variables."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("a value is used after something was done to it in place: use what that gave")


def _error(x: Spent) -> RuntimeError:
    return RuntimeError(
        f"a Variable of shape {tuple(x._value.shape)} is used after {x._by} was done to it in place. Here that gave a "
        f"new Variable, and left this one as it was; in PyTorch it would have changed. Use what {x._by} gave, or do it "
        "out of place, as x = x + y"
    )


def _flat(x: Any) -> Iterator[Any]:
    if isinstance(x, (tuple, list)):
        for item in x:
            yield from _flat(item)
    elif isinstance(x, dict):
        yield from _flat(list(x.values()))
    else:
        yield x


def recorded(x: Any) -> bool:
    """Whether `x` is a value that a primitive made, while recording."""
    return mode.recording and is_variable(x) and x._source is not None


def may_be_spent(x: Any) -> bool:
    """Whether `x` is a recorded value, inside of a converted forward."""
    return bool(_inside.depth) and recorded(x)


def spend(x: Any, by: str) -> None:
    """Nobody may use `x` from here on."""
    if mode.tracing:
        x._source = _SpentSource()
        return
    _refuse_shared(x, by)
    x._by = by
    x.__class__ = Spent


def taken(x: Any, by: str) -> Any:
    """The same value in a Variable of its own; `x` is spent."""
    other: Any
    source = x._source
    if mode.tracing:
        with switched(computing=True):
            other = x.view_as(x)
        other._source, other.grad_v = source, None
        spend(x, by)
        return other
    value = x._value
    spend(x, by)
    other = value.data
    other.__class__ = Variable
    other._value, other._source = value, source
    return other


def _refuse_shared(x: Any, by: str) -> None:
    """Raise if others have this memory, as those that `x` is a part of: in PyTorch they would change too."""
    value = x._value
    base = value._base
    if base is None:
        alone = value._use_count() == 1
    else:  # often memory that a kernel made, under another shape, and nobody has but this
        with torch._C.DisableTorchFunctionSubclass():
            views = 1 + (x._base is not None)
        alone = base._use_count() == 1 + views and _references(base) == _ONLY
    if not alone:
        raise RuntimeError(
            f"{by} in place would change a Variable of shape {tuple(value.shape)} that shares memory with others, as a "
            "view does, and only this one can be told. Do it out of place, as x = x + y"
        )


def _references(x: Any) -> int:
    return getrefcount(x)


def _count_only() -> int:
    """The references that `_refuse_shared` sees of a tensor that nobody else has in Python."""
    value = torch.empty(1).view(1)
    base = value._base
    return _references(base)


_ONLY = _count_only()


def _out_of_place(name: str) -> Callable[..., Any] | None:
    """What does out of place what the function of this name does in place."""
    plain = f"__{name[3:-2]}__" if name.startswith("__i") else name[:-1]
    for space in (_T, torch, F):
        found = dispatch.OPERATORS.get(getattr(space, plain, None))
        if found is not None:
            return found
    return None


def _functionalized(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What a function that works in place gives, done out of place; NotImplemented where that may not be."""
    if kwargs.get("out") is not None or not args or not may_be_spent(args[0]):
        return NotImplemented
    function = _out_of_place(name)
    if function is None:
        return NotImplemented
    x = args[0]
    result = function(*args, **kwargs)
    if result.shape != x.shape:
        raise RuntimeError(
            f"{name} in place gives shape {tuple(result.shape)}, and the Variable has {tuple(x.shape)}: do it out of "
            "place"
        )
    result = result if result.dtype == x.dtype else result.to(x.dtype)
    spend(x, name)
    return result


dispatch.functionalized = _functionalized

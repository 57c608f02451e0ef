"""One derivative, two bodies: a formula that can be read, and the kernel that runs in its place."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from torch import Tensor

__all__ = ["PAIRS", "formulas", "kernel"]

P = ParamSpec("P")
R = TypeVar("R")


class _Bodies(threading.local):
    formulas = False
    but: Collection[Any] = ()


_bodies = _Bodies()
_contexts = 0  # how many `formulas()` are open, in any thread: a global is asked faster than a thread's own switch

# Every function that has both bodies, in the order of definition: `.formula` and `.kernel` are on each.
PAIRS: list[Any] = []


def direct(overload: Callable[..., Any]) -> Callable[..., Any]:
    """What an ATen operator's Python object only hands its arguments on to; the detour costs as much as small work."""
    return getattr(overload, "_op", overload)


def kernel(fast: Callable[..., Any]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Run `fast` in place of the decorated formula, which it equals. Inside `formulas()` the formula runs.

    fast: takes the formula's arguments and gives its result, or NotImplemented where it is not for such arguments: then
    the formula runs.
    """
    fast = direct(fast)

    def pair(formula: Callable[P, R]) -> Callable[P, R]:
        @wraps(formula)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            if _contexts and _bodies.formulas and run not in _bodies.but:
                return formula(*args, **kwargs)
            answer = fast(*args, **kwargs)
            return formula(*args, **kwargs) if answer is NotImplemented else answer

        run.formula, run.kernel = formula, fast  # type: ignore[attr-defined]
        PAIRS.append(run)
        return run

    return pair


def in_place(backward: Callable[..., Tensor], fast: Callable[..., Any]) -> Callable[..., Tensor]:
    """`f_backward_` of `f_backward`: the same, written into its first argument, grad, which is given back.

    fast: takes the same arguments, and by name the tensor to write into, `grad_input`.

    Where grad lies in memory in another order than what was saved, the result is a new tensor, as of `backward`: mostly
    in the order of what was saved, as what comes next wants it.
    """
    fast = direct(fast)

    def run(grad: Tensor, *rest: Any) -> Tensor:
        if _contexts and _bodies.formulas and backward not in _bodies.but:
            return grad.copy_(backward(grad, *rest))
        if grad.stride() != rest[0].stride():
            return backward(grad, *rest)
        fast(grad, *rest, grad_input=grad)
        return grad

    run.__name__ = run.__qualname__ = f"{backward.__name__}_"
    run.__doc__ = f"`{backward.__name__}`, written into grad."
    return run


@contextmanager
def formulas(but: Collection[Any] = ()) -> Iterator[None]:
    """Inside, every function runs its formula: for learning, for checking, and for exporters without the kernels.

    but: functions that run their kernels all the same.
    """
    global _contexts  # noqa: PLW0603
    before = _bodies.formulas, _bodies.but
    _bodies.formulas, _bodies.but = True, but
    _contexts += 1
    try:
        yield
    finally:
        _contexts -= 1
        _bodies.formulas, _bodies.but = before


def running_formulas() -> bool:
    return _bodies.formulas

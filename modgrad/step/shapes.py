"""What operations give for tensors of given shapes, remembered from one process to the next.

On tensors without values nearly every operation of PyTorch runs a function written in Python, and the first one imports
sympy and torch._dynamo: one to two seconds. Shape, strides and dtype of a result depend on those of the arguments, so a
second start can read them from a file, and needs none of that.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from modgrad.step import cache

_MOST = 2**22  # characters of a file, a hundred times what a model takes; a larger one is begun anew


class Shapes:
    """Results of operations on meta tensors, by operation and arguments. `save` keeps them for the next process."""

    def __init__(self) -> None:
        surroundings = cache.key(["shapes", str(torch.get_default_dtype()), str(torch.backends.mkldnn.enabled)])
        self.path = cache.folder() / f"shapes-{surroundings}.json"
        self._new: dict[str, Any] = {}

    @cached_property
    def known(self) -> dict[str, Any]:
        """Results by operation and arguments, as text. Read when the first one is asked for, as few steps need any."""
        return self._read()

    def result(self, func: Any, args: Any, kwargs: Any, run: Callable[[], Any]) -> Any:
        """What `run`, which is func(*args, **kwargs) on meta tensors, gives."""
        if func.is_view or _changes_shapes(func):  # views are quickly made, and lie in the memory of an argument
            return run()
        tensors: list[Tensor] = []
        key = f"{func} {_text((args, kwargs), tensors)}"
        with suppress(LookupError, TypeError, ValueError, AttributeError, RuntimeError):  # not known, or damaged
            return _decoded(self.known[key], tensors)
        result = run()
        with suppress(_UnfitError):
            self.known[key] = self._new[key] = _encoded(result, tensors)
        return result

    def save(self) -> None:
        """Add what is new to the file. Where that cannot be written, a second start takes longer."""
        if not self._new:
            return
        text = json.dumps({**self._read(), **self._new})
        if len(text) > _MOST:
            text = json.dumps(self._new)
        self._new = {}
        with suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle, draft = tempfile.mkstemp(prefix=".shapes-", dir=self.path.parent)
            try:
                with os.fdopen(handle, "w") as file:
                    file.write(text)
                Path(draft).replace(self.path)
            finally:
                Path(draft).unlink(missing_ok=True)

    def _read(self) -> dict[str, Any]:
        with suppress(OSError, ValueError):
            found = json.loads(self.path.read_text())
            return found if isinstance(found, dict) else {}
        return {}


def _changes_shapes(func: Any) -> bool:
    """Whether an operation may give an argument another shape, as resize_ and what has an `out`."""
    return torch.Tag.inplace_view in func.tags or any(argument.is_out for argument in func._schema.arguments)


class _UnfitError(Exception):
    """A result that cannot be told by shapes."""


def _text(value: Any, tensors: list[Tensor]) -> str:
    """An argument, with all that a result's shape may depend on. tensors: is given those in it, in their order."""
    if isinstance(value, Tensor):
        tensors.append(value)
        return f"{value.dtype}{tuple(value.shape)}{value.stride()}"
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(_text(each, tensors) for each in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name}={_text(each, tensors)}' for name, each in value.items())}}}"
    return repr(value)


def _encoded(result: Any, tensors: list[Tensor]) -> Any:
    if isinstance(result, Tensor):
        for position, tensor in enumerate(tensors):
            if tensor is result:
                return position
        memories = {tensor.untyped_storage()._cdata for tensor in tensors}
        if result.layout is not torch.strided or result.untyped_storage()._cdata in memories:
            raise _UnfitError
        return {"dtype": str(result.dtype), "shape": list(result.shape), "stride": list(result.stride())}
    if isinstance(result, (tuple, list)):
        return [type(result) is tuple, *[_encoded(each, tensors) for each in result]]
    if result is None:
        return None
    raise _UnfitError


def _decoded(found: Any, tensors: list[Tensor]) -> Any:
    if found is None:
        return None
    if isinstance(found, int):
        return tensors[found]
    if isinstance(found, list):
        results = [_decoded(each, tensors) for each in found[1:]]
        return tuple(results) if found[0] else results
    dtype = getattr(torch, found["dtype"].removeprefix("torch."))
    return torch.empty_strided(found["shape"], found["stride"], dtype=dtype, device="meta")

"""What a client has to know of the files, as JSON."""

from __future__ import annotations

import re
from typing import Any

import torch

from modgrad.step import state as states

Size = Any  # int, or torch.SymInt where it is free
FORMAT, VERSION = "modgrad-training-step", 1
# The manifest's words for the kinds of state.
KINDS = {
    states.PARAMETERS: "parameter",
    states.BUFFERS: "buffer",
    states.OPTIMIZER: "optimizer",
    states.RANDOMNESS: "randomness",
    states.GRADIENTS: "gradient",
    states.COUNT: "count",
}


def dtype_name(dtype: torch.dtype) -> str:
    """As numpy names it."""
    return str(dtype).removeprefix("torch.")


def state_name(kind: str, name: str) -> str:
    """The name of a tensor of the state among all of them."""
    return f"gradient.{name}" if kind == states.GRADIENTS else name


def described(name: str, key: str, shape: Any, dtype: torch.dtype, **more: Any) -> dict[str, Any]:
    return {key: name, "shape": list(shape), "dtype": dtype_name(dtype), **more}


class FreeSizes:
    """Names for the sizes that are free: "batch", and "batch2", ... where there are more."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}  # by symbol

    def shape(self, shape: tuple[Size, ...]) -> list[Any]:
        return [self._named(size) for size in shape]

    def _named(self, size: Size) -> Any:
        fixed = size if isinstance(size, int) else size.node.maybe_as_int()
        if fixed is not None:
            return fixed
        expression = size.node.expr
        for symbol in sorted(map(str, expression.free_symbols)):
            number = len(self._names)
            self._names.setdefault(symbol, "batch" if not number else f"batch{number + 1}")
        return re.sub(r"\w+", lambda word: self._names.get(word[0], word[0]), str(expression))

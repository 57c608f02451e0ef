"""What `inplace=True` does to a Variable."""

from __future__ import annotations

from typing import Any

from modgrad.interop.rebinding import recorded, taken


def out_of_place(function: str, inplace: bool, input: Any) -> Any:
    """The input of a function. If it is to be changed in place, which a Variable is never, it is spent: the result has
    a Variable of its own, and whoever still uses the input, which would be changed in PyTorch, is told so by an error.
    A leaf may not be spent, as in PyTorch."""
    if not inplace:
        return input
    if recorded(input):
        return taken(input, function)
    raise RuntimeError(
        f"{function}(inplace=True): a Variable is never changed in place; write x = F.{function}(x, ...)"
    )

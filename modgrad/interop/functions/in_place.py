"""What `inplace=True` does to a Variable."""

from __future__ import annotations

from typing import Any

from modgrad.interop.rebinding import may_be_spent, taken


def out_of_place(function: str, inplace: bool, input: Any) -> Any:
    """The input of a function. If it is to be changed in place, which a Variable is never, that raises: what is not
    used would be lost. Only a forward that was written for PyTorch may say so: its input is not used after that."""
    if not inplace:
        return input
    if may_be_spent(input):
        return taken(input, function)
    raise RuntimeError(
        f"{function}(inplace=True): a Variable is never changed in place; write x = F.{function}(x, ...)"
    )

"""The refusal of `inplace=True`."""

from __future__ import annotations


def out_of_place(function: str, inplace: bool) -> None:
    """Raise where a function is to change its argument, which a Variable is never: what is not used would be lost."""
    if inplace:
        raise RuntimeError(
            f"{function}(inplace=True): a Variable is never changed in place; write x = F.{function}(x, ...)"
        )

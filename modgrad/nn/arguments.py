"""Arguments that layers take in more than one form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Pair = tuple[int, int]


def pair(value: int | Sequence[int]) -> Pair:
    """One number for both directions, or one for each: (vertical, horizontal)."""
    if isinstance(value, int):
        return value, value
    two: Any = tuple(value)
    if len(two) != 2:
        raise ValueError(f"expected a number or a pair (vertical, horizontal), got {value!r}")
    return two

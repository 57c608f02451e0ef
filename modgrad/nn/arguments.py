"""Arguments that layers take in more than one form."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

Pair = tuple[int, int]
Numbers = tuple[int, ...]  # one for each dimension of space
SIDES = {1: "L", 2: "H, W", 3: "D, H, W"}
_FORMS = {
    1: "a number",
    2: "a number or a pair (vertical, horizontal)",
    3: "a number or a triple (depth, vertical, horizontal)",
}


def one_for_each(value: Any, dimensions: int) -> Numbers:
    """One number for all `dimensions`, or one for each, as a tuple."""
    if type(value) is tuple and len(value) == dimensions:
        return value
    if not isinstance(value, Iterable):
        return (value,) * dimensions
    numbers = tuple(value)
    if len(numbers) != dimensions or isinstance(value, str):
        raise ValueError(f"expected {_FORMS[dimensions]}, got {value!r}")
    return numbers


def sizes(value: Any, dimensions: int, name: str) -> tuple[Any, ...]:
    """As `one_for_each`, but that a sequence of one number stands for all dimensions too."""
    several = tuple(value) if isinstance(value, Sequence) else (value,)
    if len(several) == 1:
        several *= dimensions
    if len(several) != dimensions:
        raise ValueError(f"{name}: expected a number, or {dimensions} of them for ({SIDES[dimensions]}), got {value!r}")
    return several


def pair(value: Any) -> Pair:
    """One number for both directions, or one for each: (vertical, horizontal)."""
    two: Any = one_for_each(value, 2)
    return two

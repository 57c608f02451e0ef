"""Arguments that layers take in more than one form."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Pair = tuple[int, int]
Numbers = tuple[int, ...]  # one for each dimension of space
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


def pair(value: Any) -> Pair:
    """One number for both directions, or one for each: (vertical, horizontal)."""
    two: Any = one_for_each(value, 2)
    return two

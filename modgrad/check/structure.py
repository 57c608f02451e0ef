"""Tensors inside tuples, lists and dicts: taking them out with their names, putting others in their place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Whatever is not a tuple, list or dict in `value`, in order, named as one would reach it: "input 0[1]"."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, f"{name}[{key!r}]")
    elif isinstance(value, (tuple, list)):
        for place, item in enumerate(value):
            yield from leaves(item, f"{name}[{place}]")
    else:
        yield name, value


def rebuilt(value: Any, replacements: Iterator[Any]) -> Any:
    """`value` with its leaves replaced, in the order of `leaves`."""
    if isinstance(value, dict):
        return {key: rebuilt(item, replacements) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        items = [rebuilt(item, replacements) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return next(replacements)


def input_leaves(args: Sequence[Any], named: dict[str, Any]) -> list[tuple[str, Any]]:
    """The leaves of a call's inputs: "input 0", "input 1[2]", "input mask"."""
    inputs = [*enumerate(args), *named.items()]
    return [leaf for key, value in inputs for leaf in leaves(value, f"input {key}")]

"""Functions that are a layer made and called at once: a line for each in its family's file."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any

from modgrad.graph.dispatch import operator
from modgrad.interop.functions.in_place import out_of_place


def of_layer(layer: Any, *functions: Any, like: Any = None, **settled: Any) -> None:
    """Enter functions that compute what `layer` does.

    A function's argument that the layer is made with, by its name there, goes to the layer; all others are its inputs.
    `training` is the layer's mode; `inplace` see `out_of_place`. What is not given is as the function has it.
    like: a function with the same arguments, or their names, for one of ATen's, which can't be asked for its own.
    settled: arguments of the layer that the functions don't have.
    """
    names, defaults = _arguments(like or functions[0])
    own = _names_of_layer(layer)
    inputs = [name for name in names if name not in own and name not in ("training", "inplace")]
    label = functions[0].__name__.removeprefix("_")
    modal, in_place = "training" in names, "inplace" in names

    def run(*given: Any, **named: Any) -> Any:
        if len(given) > len(names):
            raise TypeError(f"{label}: {len(given)} arguments given, there are {len(names)}: {', '.join(names)}")
        by_place = dict(zip(names, given, strict=False))
        if twice := by_place.keys() & named.keys():
            raise TypeError(f"{label}: {', '.join(twice)} given twice")
        values = {**defaults, **by_place, **named, **settled}
        if missing := [name for name in inputs if name not in values]:
            raise TypeError(f"{label}: {', '.join(missing)} not given")
        first, *others = (values.pop(name) for name in inputs)
        if in_place:
            first = out_of_place(label, values.pop("inplace"), first)
        training = values.pop("training") if modal else True
        made = layer(**values)
        return (made if training else made.eval())(first, *others)

    run.__wrapped__ = layer  # type: ignore[attr-defined]  # where docs/coverage.md is to lead
    operator(*functions)(run)


def _arguments(of: Callable[..., Any] | str) -> tuple[list[str], dict[str, Any]]:
    """The names of a function's arguments, in order, and those values that need not be given."""
    if isinstance(of, str):
        return of.split(), {}
    parameters = inspect.signature(of).parameters
    return list(parameters), {name: p.default for name, p in parameters.items() if p.default is not p.empty}


@cache
def _names_of_layer(layer: Any) -> set[str]:
    return set(inspect.signature(layer).parameters)

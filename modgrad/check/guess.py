"""Inputs for the command line: read from --input, given by the module's `example_inputs`, or guessed."""

from __future__ import annotations

import copy
import inspect
import itertools
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from modgrad.check.state import random_state_kept
from modgrad.check.structure import leaves
from modgrad.check.target import UsageError
from modgrad.graph import Module, Primitive, no_grad

# a shape, and below which integer; or None for normal floating-point numbers
Form = tuple[tuple[int, ...], int | None]

_SIZES = (6, 8, 16, 28, 32, 64, 96, 224)  # of an image's sides


def form_of(text: str) -> Form:
    """A form as it is written: "4,3" for normal numbers of shape (4, 3), "4:int5" for integers below 5, "" for one."""
    shape, colon, kind = text.partition(":")
    try:
        sizes = tuple(int(size) for size in shape.replace(" ", "").strip("(),").split(",") if size)
        below = int(kind.removeprefix("int")) if colon else None
    except ValueError:
        sizes, below = (-1,), None
    wrong_kind = bool(colon) and not (kind.startswith("int") and below is not None and below > 0)
    if wrong_kind or any(size < 0 for size in sizes):
        raise UsageError(f"--input {text!r}: expected a shape, as in 4,3; or in 4:int5, for integers from 0 to 4")
    return sizes, below


def written(form: Form) -> str:
    """The opposite of `form_of`."""
    shape, below = form
    return ",".join(map(str, shape)) + ("" if below is None else f":int{below}")


def tensor_of(form: Form, generator: torch.Generator) -> Tensor:
    shape, below = form
    if below is None:
        return torch.randn(shape, generator=generator)
    return torch.randint(0, below, shape, generator=generator)


def inputs_for(module: Module, given: Sequence[str], seed: int) -> tuple[tuple[Any, ...], str]:
    """Inputs for `module`, and a sentence that says which, and where they are from.   Raises UsageError."""
    generator = torch.Generator().manual_seed(seed)
    if given:
        forms = [form_of(text) for text in given]
        return tuple(tensor_of(form, generator) for form in forms), f"Inputs as given: {_listed(forms)}."
    if hasattr(module, "example_inputs"):
        inputs = module.example_inputs()
        inputs = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
        return inputs, f"Inputs from {type(module).__name__}.example_inputs()."
    for forms in _guesses(module):
        inputs = tuple(tensor_of(form, generator) for form in forms)
        if _works(module, inputs):
            return inputs, f"Inputs as guessed: {_listed(forms)}."
    raise UsageError(
        f"no guess at the inputs of {type(module).__name__} fits: give each with --input, as in --input 4,3 for normal "
        "numbers of shape (4, 3), or --input 4:int5 for four integers from 0 to 4; or write a method example_inputs()"
    )


def _listed(forms: Sequence[Form]) -> str:
    return " ".join(f"--input {written(form)}" for form in forms) or "none"


def _works(module: Module, inputs: tuple[Any, ...]) -> bool:
    """Whether forward takes these, and gives a floating-point tensor that holds numbers."""
    with random_state_kept(), warnings.catch_warnings(), no_grad():
        warnings.simplefilter("ignore")
        try:
            outputs = copy.deepcopy(module)(*inputs)
        except Exception:
            return False
    found = [value for _, value in leaves(outputs) if isinstance(value, Tensor) and value.is_floating_point()]
    return any(value.numel() for value in found) and all(bool(value.isfinite().all()) for value in found)


def _guesses(module: Module) -> Iterator[list[Form]]:
    """Forms to try, one for each required positional argument of forward, likelier ones first."""
    names = _required(module)
    if not names:
        yield []
        return
    for first in _first_forms(module):
        yield from map(list, itertools.product([first], *(_further_forms(name, first) for name in names[1:])))


def _required(module: Module) -> list[str]:
    parameters = list(inspect.signature(module.forward).parameters.values())
    if isinstance(module, Primitive):
        parameters = parameters[1:]  # the call
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = [p.name for p in parameters if p.kind in positional and p.default is inspect.Parameter.empty]
    return names or [p.name for p in parameters if p.kind is inspect.Parameter.VAR_POSITIONAL]


def _first_forms(module: Module) -> Iterator[Form]:
    """Forms for the first input, from what the first layer that says something about it says."""
    for layer in module.modules():
        told = layer.__dict__
        features, channels, count = (told.get(n) for n in ("in_features", "in_channels", "num_features"))
        entries = told.get("num_embeddings")
        if isinstance(entries, int):
            yield from [((4,), entries), ((2, 4), entries)]
        if isinstance(told.get("normalized_shape"), tuple):
            yield (4, *told["normalized_shape"]), None
        if isinstance(features, int):
            yield from [((4, features), None), ((2, 3, features), None)]
        if isinstance(channels, int):
            yield from [((2, channels, size, size), None) for size in _SIZES]
            yield from [((2, channels, size), None) for size in _SIZES]
        if isinstance(count, int):
            yield from [((4, count), None), ((2, count, 6, 6), None), ((2, count, 6), None)]
        if any(isinstance(x, int) for x in (features, channels, count, entries)):
            break
    yield from [((4, 3), None), ((2, 3, 6, 6), None), ((2, 3, 6), None), ((4,), None), ((4, 4), None)]
    yield from [((2, channels, size, size), None) for channels in (1, 3) for size in _SIZES]
    yield from [((4,), 3), ((2, 4), 3), ((), None)]


def _further_forms(name: str, first: Form) -> list[Form]:
    """Forms for an input after the first: for a target class indices come first, for others the first one's form."""
    shape, _ = first
    classes: Form = (shape[:1] + shape[2:], shape[1] if len(shape) > 1 else 3)
    same: Form = (shape, None)
    return [classes, same] if name in ("target", "targets", "label", "labels", "y") else [same, classes]

"""What an exported step is, as JSON: its inputs and outputs in order, and which output feeds which input."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from modgrad.export.flat import Entry, FlatStep

if TYPE_CHECKING:
    from modgrad.step.training import TrainingStep

VERSION = 1
Shape = list[int | str]


def dtype_name(tensor: Tensor) -> str:
    """As numpy calls it."""
    return str(tensor.dtype).removeprefix("torch.")


def described(tensor: Tensor, shape: Shape | None = None) -> dict[str, Any]:
    """shape: where it is not the tensor's own."""
    return {"shape": list(tensor.shape) if shape is None else shape, "dtype": dtype_name(tensor)}


def numbered(name: str, count: int) -> list[str]:
    """name, or where there are several name0, name1, ..."""
    return [name] if count == 1 else [f"{name}{i}" for i in range(count)]


def heading(step: TrainingStep, form: str) -> dict[str, Any]:
    """What was exported, by whom."""
    names = {key: type(getattr(step, key)).__name__ for key in ("model", "criterion", "optimizer")}
    return {"format": form, "version": VERSION, "modgrad": sys.modules["modgrad"].__version__, **names}


def state(flat: FlatStep) -> dict[str, Any]:
    """The named tensors of the state, what goes in and out for them, and the numbers."""
    tensors = [
        {
            "input": entry.name,
            "output": f"new.{entry.name}" if entry.name in flat.changed else None,
            **described(entry.tensor),
            "holds": [{"name": entry.name, "offset": 0}],
        }
        for entry in flat.entries
    ]
    numbers = [
        {"name": rate.label, "input": rate.label, "value": number.item(), **described(number)}
        for rate, number in zip(flat.rates, flat.numbers(), strict=True)
    ]
    return {
        "state": [{"name": e.name, "kind": e.kind, **described(e.tensor)} for e in flat.entries],
        "tensors": tensors,
        "numbers": numbers,
    }


def inputs(names: Sequence[str], tensors: Sequence[Tensor], shapes: Sequence[Shape]) -> list[dict[str, Any]]:
    """The tensors of a batch."""
    return [{"input": n, **described(x, shape)} for n, x, shape in zip(names, tensors, shapes, strict=True)]


def names_of(state: Sequence[Entry]) -> list[str]:
    return [entry.name for entry in state]

"""Which tensors of the graph hold which tensors of the state."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from modgrad.export.onnx.manifest import KINDS, dtype_name, state_name
from modgrad.step.state import SCHEDULE, State


class Named(NamedTuple):
    """A tensor of the state, as a file holds it."""

    name: str
    kind: str  # as the manifest says it
    tensor: Tensor


class Held(NamedTuple):
    """A state tensor of the graph, and what it holds, each at its offset."""

    input: str
    tensor: Tensor
    holds: list[tuple[str, int]]
    place: tuple[str, str]  # its kind and name in the traced function's state


def named(state: State) -> list[Named]:
    """Every tensor of the state but the numbers, under its name in the files."""
    return [
        Named(state_name(kind, name), KINDS[kind], tensor)
        for kind, tensors in state.items()
        if kind != SCHEDULE
        for name, tensor in tensors.items()
    ]


def entry(each: Named) -> dict[str, Any]:
    """In the manifest's "state"."""
    shape, dtype = list(each.tensor.shape), dtype_name(each.tensor.dtype)
    return {"name": each.name, "kind": each.kind, "shape": shape, "dtype": dtype}


def filled(held: Held, by_name: dict[str, Tensor]) -> Tensor:
    """What the graph's tensor is, of the named ones."""
    if held.holds == [(held.input, 0)]:
        return by_name[held.input]
    return torch.cat([by_name[name].reshape(-1) for name, _ in held.holds])


def taken_apart(held: Held, tensor: Tensor, shapes: dict[str, Any]) -> dict[str, Tensor]:
    """The named ones, of what the graph's tensor is."""
    if held.holds == [(held.input, 0)]:
        return {held.input: tensor}
    flat = tensor.reshape(-1)
    found = {}
    for name, offset in held.holds:
        size = torch.Size(shapes[name]).numel()
        found[name] = flat[offset : offset + size].reshape(shapes[name])
    return found

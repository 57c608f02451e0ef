"""What an export is made of, before it is written: graphs, state, and how the one holds the other."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from modgrad.export.onnx import layout
from modgrad.export.onnx.layout import Held

NEW, GRADIENT, LOSS, PREDICTION = "new.", "grad.", "loss", "prediction"


class Exported(NamedTuple):
    """The graphs of one export, as protobuf."""

    checked: bytes  # one step, with its gradients
    finished: bytes  # what is written: the same, in a loop if it was asked for
    predicting: bytes
    manifest: dict[str, Any]
    state: dict[str, Tensor]  # by the names of the files
    held: list[Held]
    numbers: dict[str, float]  # the learning rates, by their inputs
    batch: list[str]  # the inputs of the batch, in order

    @property
    def scans(self) -> bool:
        return self.manifest["steps"] == "scan"

    def resized(self, batch: Any) -> dict[int, Any]:
        """The batch with one sample, and with one more than it has, by their number; none where that is not free."""
        lead = 1 if self.scans else 0
        free = [any(isinstance(n, str) for n in entry["shape"][lead : lead + 1]) for entry in self.manifest["batch"]]
        leaves, spec = pytree.tree_flatten(batch)
        given = {len(x) for x, each in zip(leaves, free, strict=True) if each}
        return {
            size: pytree.tree_unflatten(
                [x[torch.arange(size) % len(x)] if each else x for x, each in zip(leaves, free, strict=True)], spec
            )
            for size in sorted({1, *(n + 1 for n in given)} - given)
            if given
        }

    def named_batch(self, batch: Any) -> dict[str, Tensor]:
        return dict(zip(self.batch, pytree.tree_leaves(batch), strict=True))

    def packed(self, by_name: dict[str, Tensor]) -> dict[str, Tensor]:
        """The graph's tensors of the state, of the named ones."""
        return {held.input: layout.filled(held, by_name) for held in self.held}

    def unpacked(self, given: dict[str, Tensor], result: dict[str, Tensor]) -> dict[str, Tensor]:
        """The named tensors after a step."""
        shapes = {name: tensor.shape for name, tensor in self.state.items()}
        new: dict[str, Tensor] = {}
        for held in self.held:
            new |= layout.taken_apart(held, result.get(NEW + held.input, given[held.input]), shapes)
        return new

    def fed_back(self, given: dict[str, Tensor], result: dict[str, Tensor]) -> dict[str, Tensor]:
        """What the next step is given, as the manifest says it."""
        outputs = {entry["input"]: entry["output"] for entry in self.manifest["tensors"]}
        return {name: given[name] if outputs[name] is None else result[outputs[name]] for name in given}

    @staticmethod
    def others(result: dict[str, Tensor]) -> dict[str, Tensor]:
        """Loss and gradients."""
        return {name: x for name, x in result.items() if not name.startswith(NEW)}

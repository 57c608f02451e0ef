"""How kernels are called that are there for two and three dimensions only, and read no more than a shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from modgrad.functional.kernel import direct
from modgrad.functional.memory import order, shape_only, unwritten

Sizes = Sequence[int]


def with_row(sizes: Sizes, row: int) -> Sizes:
    """Sizes for the two-dimensional kernel: in one dimension, a row of `row` comes before them."""
    return (row, *sizes) if len(sizes) == 1 else sizes


class Backward:
    """A kernel of (grad, input, ...) that gives dL/d(input), and reads of the input the shape and the order of memory.

    name: the operator's, `op.name` and `op.name.grad_input`, which writes into memory that it is given.
    """

    def __init__(self, name: str) -> None:
        packet = getattr(torch.ops.aten, name)
        self._fresh = direct(packet.default)
        self._into = direct(packet.grad_input)

    def __call__(self, grad: Tensor, told: Tensor, shape: Sizes, *options: Any) -> Tensor:
        """told: of the input's order of memory, as the output and its indices are."""
        if type(grad) is not Tensor or grad.device.type != "cpu":
            return self._fresh(grad, shape_only(shape, grad, order(told)), *options)
        # The gradient's own memory, not yet written, can stand for the input as well as any.
        grad_input = unwritten(shape, grad, order(told))
        return self._into(grad, grad_input, *options, grad_input=grad_input)

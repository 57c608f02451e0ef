"""How kernels are called that are there for two and three dimensions only, and read no more than a shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from modgrad.functional.kernel import direct

Sizes = Sequence[int]
_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


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
            return self._fresh(grad, shape_only(grad, told, shape), *options)
        form = torch.contiguous_format if told.is_contiguous() else _order(told)
        # The gradient's own memory, not yet written, can stand for the input as well as any.
        grad_input = torch.empty(shape, dtype=grad.dtype, device=grad.device, memory_format=form)
        return self._into(grad, grad_input, *options, grad_input=grad_input)


def shape_only(grad: Tensor, told: Tensor, shape: Sizes) -> Tensor:
    """Something of `shape` for kernels that read no value of their input, in the order of memory that `told` has.

    One value; or, where channels are last, memory of that shape which is not written.
    """
    form = torch.contiguous_format if told.is_contiguous() else _order(told)
    if form is not torch.contiguous_format:
        return torch.empty(shape, dtype=grad.dtype, device=grad.device, memory_format=form)
    return grad.new_empty(1).expand(shape)


def _order(told: Tensor) -> torch.memory_format:
    form = _LAST.get(told.dim(), torch.contiguous_format)
    return form if told.is_contiguous(memory_format=form) else torch.contiguous_format

"""How kernels are called that are there for two and three dimensions only, and read no more than a shape."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Sizes = Sequence[int]
_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def with_row(sizes: Sizes, row: int) -> Sizes:
    """Sizes for the two-dimensional kernel: in one dimension, a row of `row` comes before them."""
    return (row, *sizes) if len(sizes) == 1 else sizes


def shape_only(grad: Tensor, indices: Tensor | None, shape: Sizes) -> Tensor:
    """Something of `shape` for kernels that read no value of their input, in the input's order of memory.

    On the CPU memory that is not touched costs nothing; elsewhere one value is, unless channels are last.
    """
    told = grad if indices is None else indices
    if not told.is_contiguous():
        form = _LAST.get(told.dim())
        if form is not None and told.is_contiguous(memory_format=form):
            return torch.empty(shape, dtype=grad.dtype, device=grad.device, memory_format=form)
    if type(grad) is Tensor and grad.device.type == "cpu":
        return grad.new_empty(shape)
    return grad.new_empty(1).expand(shape)

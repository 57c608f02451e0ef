"""The order in which a tensor's values lie in memory, and stand-ins for tensors whose values no kernel reads."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def order(*told: Tensor) -> torch.memory_format:
    """channels_last where one of these tensors of the same dimensions has that order and no other, else contiguous."""
    last = _CHANNELS_LAST.get(told[0].dim(), torch.contiguous_format)
    for x in told:
        if not x.is_contiguous() and x.is_contiguous(memory_format=last):
            return last
    return torch.contiguous_format


def unwritten(shape: Sequence[int], grad: Tensor, form: torch.memory_format) -> Tensor:
    """Memory of this shape and order, of the gradient's dtype."""
    return torch.empty(shape, dtype=grad.dtype, device=grad.device, memory_format=form)


def shape_only(shape: Sequence[int], grad: Tensor, form: torch.memory_format) -> Tensor:
    """Something of this shape and order for a kernel that reads no value of it: one value, where there may be."""
    if form is not torch.contiguous_format:
        return unwritten(shape, grad, form)
    return grad.new_empty(1).expand(shape)

"""Functions that only move values: reshape, permute, join, cut. Each beside its derivative, which moves them back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from modgrad.functional.kernel import kernel

__all__ = [
    "cat",
    "cat_backward",
    "permute",
    "permute_backward",
    "reshape",
    "reshape_backward",
    "select",
    "select_backward",
    "stack",
    "stack_backward",
]


def reshape(input: Tensor, shape: Sequence[int]) -> Tensor:
    """The same values in the same order, as `shape`; one -1 is worked out."""
    return input.reshape(shape)


def reshape_backward(grad: Tensor, input_shape: torch.Size) -> Tensor:
    """dL/dx = dL/dy in x's shape."""
    return grad.reshape(input_shape)


def permute(input: Tensor, dims: Sequence[int]) -> Tensor:
    """y's dimension i is x's dimension dims[i]."""
    return input.permute(*dims)


def permute_backward(grad: Tensor, dims: Sequence[int]) -> Tensor:
    """dL/dx: the inverse permutation of dL/dy."""
    inverse = [0] * len(dims)
    for place, d in enumerate(dims):
        inverse[d] = place
    return grad.permute(inverse)


def cat(inputs: Sequence[Tensor], dim: int = 0) -> Tensor:
    """The inputs one after another along `dim`."""
    return torch.cat(tuple(inputs), dim)


def cat_backward(grad: Tensor, sizes: Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """dL/dx_i: the piece of dL/dy where x_i lies.   sizes: the inputs' sizes along `dim`."""
    return grad.split(list(sizes), dim)


def stack(inputs: Sequence[Tensor], dim: int = 0) -> Tensor:
    """The inputs side by side along a new dimension `dim`."""
    return torch.stack(tuple(inputs), dim)


def stack_backward(grad: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """dL/dx_i = the i-th slice of dL/dy along `dim`."""
    return grad.unbind(dim)


def select(input: Tensor, index: Any) -> Tensor:
    """y = x[index], for any index that a tensor takes: integers, slices, None, Ellipsis, masks, index tensors."""
    return input[index]


def _select_backward_kernel(grad: Tensor, input_shape: torch.Size, index: Any) -> Tensor:
    parts = index if isinstance(index, tuple) else (index,)
    if any(isinstance(part, (Tensor, list, tuple)) for part in parts):  # may take one place several times
        return select_backward.formula(grad, input_shape, index)  # type: ignore[attr-defined]
    grad_input = grad.new_zeros(input_shape)
    grad_input[index] = grad
    return grad_input


@kernel(_select_backward_kernel)
def select_backward(grad: Tensor, input_shape: torch.Size, index: Any) -> Tensor:
    """dL/dx: zero, plus dL/dy at the places that index took, as often as it took them.

    grad: the output's shape; returns `input_shape`.
    """
    places = torch.arange(input_shape.numel(), device=grad.device).reshape(input_shape)[index]
    flat = grad.new_zeros(input_shape.numel()).index_add(0, places.reshape(-1), grad.reshape(-1))
    return flat.reshape(input_shape)

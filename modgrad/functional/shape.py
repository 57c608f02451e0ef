"""Functions that only move values: reshape, permute, join, cut. Each beside its derivative, which moves them back."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from modgrad.functional.indexing import added_at
from modgrad.functional.kernel import kernel

aten = torch.ops.aten

__all__ = [
    "cat",
    "cat_backward",
    "diag_embed",
    "diag_embed_backward",
    "diagonal",
    "diagonal_backward",
    "flip",
    "flip_backward",
    "permute",
    "permute_backward",
    "reshape",
    "reshape_backward",
    "roll",
    "roll_backward",
    "stack",
    "stack_backward",
    "tril",
    "tril_backward",
    "triu",
    "triu_backward",
    "windows",
    "windows_backward",
]


def reshape(input: Tensor, shape: Sequence[int]) -> Tensor:
    """The same values in the same order, as `shape`; one -1 is worked out."""
    return input.reshape(shape)


def reshape_backward(grad: Tensor, input_shape: torch.Size) -> Tensor:
    """dL/dx = dL/dy in x's shape."""
    return grad.reshape(input_shape)


def permute(input: Tensor, dims: Sequence[int]) -> Tensor:
    """y's dimension i is x's dimension dims[i]."""
    return input.permute(tuple(dims))


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


def flip(input: Tensor, dims: Sequence[int]) -> Tensor:
    """The values of `dims` in reverse order."""
    return torch.flip(input, tuple(dims))


def flip_backward(grad: Tensor, dims: Sequence[int]) -> Tensor:
    """dL/dx: dL/dy reversed again."""
    return torch.flip(grad, tuple(dims))


def roll(input: Tensor, shifts: Sequence[int], dims: Sequence[int]) -> Tensor:
    """The values of each of `dims` moved on by its shift, those that leave at the end coming in at the start."""
    return torch.roll(input, tuple(shifts), tuple(dims))


def roll_backward(grad: Tensor, shifts: Sequence[int], dims: Sequence[int]) -> Tensor:
    """dL/dx: dL/dy moved back."""
    return torch.roll(grad, tuple(-shift for shift in shifts), tuple(dims))


def tril(input: Tensor, diagonal: int) -> Tensor:
    """x (..., n, m) on and below the diagonal, 0 above.   diagonal: which one; 1 is next to the main one, above."""
    return torch.tril(input, diagonal)


def tril_backward(grad: Tensor, diagonal: int) -> Tensor:
    """dL/dx = dL/dy where x was kept."""
    return torch.tril(grad, diagonal)


def triu(input: Tensor, diagonal: int) -> Tensor:
    """x (..., n, m) on and above the diagonal, 0 below.   diagonal: which one; 1 is next to the main one, above."""
    return torch.triu(input, diagonal)


def triu_backward(grad: Tensor, diagonal: int) -> Tensor:
    """dL/dx = dL/dy where x was kept."""
    return torch.triu(grad, diagonal)


def diagonal(input: Tensor, offset: int, dim1: int, dim2: int) -> Tensor:
    """The diagonal of the matrices in `dim1` and `dim2`, as the last dimension.   offset: 1 is next to the main one."""
    return torch.diagonal(input, offset, dim1, dim2)


@kernel(aten.diagonal_backward.default)
def diagonal_backward(grad: Tensor, input_shape: torch.Size, offset: int, dim1: int, dim2: int) -> Tensor:
    """dL/dx = dL/dy on the diagonal, 0 off it."""
    places = torch.arange(input_shape.numel(), device=grad.device).reshape(input_shape)
    return added_at(grad, input_shape, places.diagonal(offset, dim1, dim2))


def diag_embed(input: Tensor, offset: int, dim1: int, dim2: int) -> Tensor:
    """Matrices in `dim1` and `dim2` with x's last dimension as their diagonal, 0 off it."""
    return torch.diag_embed(input, offset, dim1, dim2)


def diag_embed_backward(grad: Tensor, offset: int, dim1: int, dim2: int) -> Tensor:
    """dL/dx = the diagonal of dL/dy."""
    return torch.diagonal(grad, offset, dim1, dim2)


def windows(input: Tensor, dim: int, size: int, step: int) -> Tensor:
    """The windows of `size` values along `dim`, one every `step`, their values as a new last dimension."""
    return input.unfold(dim, size, step)


@kernel(aten.unfold_backward.default)
def windows_backward(grad: Tensor, input_shape: torch.Size, dim: int, size: int, step: int) -> Tensor:
    """dL/dx = the sum of dL/dy over the windows that it is in."""
    places = torch.arange(input_shape.numel(), device=grad.device).reshape(input_shape)
    return added_at(grad, input_shape, places.unfold(dim, size, step))

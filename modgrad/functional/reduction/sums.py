"""Sums, means and products, each beside its derivative."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = [
    "logsumexp",
    "logsumexp_backward",
    "mean",
    "mean_backward",
    "nansum",
    "nansum_backward",
    "prod",
    "prod_backward",
    "sum",
    "sum_backward",
    "with_reduced",
]

Dims = tuple[int, ...]


def with_reduced(reduced: Tensor, dims: Dims, keepdim: bool) -> Tensor:
    """What a reduction gave, or its gradient, with the dimensions that were reduced put back, of size 1."""
    if not keepdim:
        for d in sorted(dims):
            reduced = reduced.unsqueeze(d)
    return reduced


def sum(input: Tensor, dims: Dims, keepdim: bool = False) -> Tensor:
    """y = sum of x over `dims` (each from 0 up)."""
    return input.sum(dims, keepdim) if dims or input.dim() == 0 else input.clone()


def sum_backward(grad: Tensor, input_shape: torch.Size, dims: Dims, keepdim: bool = False) -> Tensor:
    """dL/dx = dL/dy at every place that was summed.   grad: the output's shape; returns `input_shape`."""
    return with_reduced(grad, dims, keepdim).expand(input_shape)


def mean(input: Tensor, dims: Dims, keepdim: bool = False) -> Tensor:
    """y = (1/n) sum of x over `dims`, n the number of values in each sum."""
    return input.mean(dims, keepdim) if dims or input.dim() == 0 else input.clone()


def mean_backward(grad: Tensor, input_shape: torch.Size, dims: Dims, keepdim: bool = False) -> Tensor:
    """dL/dx = dL/dy / n at every place.   grad: the output's shape; returns `input_shape`."""
    count = math.prod(input_shape[d] for d in dims)
    return sum_backward(grad / count, input_shape, dims, keepdim) if count else grad.new_zeros(input_shape)


def nansum(input: Tensor, dims: Dims, keepdim: bool) -> Tensor:
    """y = sum of x over `dims`, NaN counted as 0."""
    return torch.nansum(input, dims, keepdim) if dims or input.dim() == 0 else torch.where(input.isnan(), 0, input)


def nansum_backward(grad: Tensor, input: Tensor, dims: Dims, keepdim: bool) -> Tensor:
    """dL/dx = dL/dy where x is a number, 0 where it is NaN."""
    return with_reduced(grad, dims, keepdim).expand(input.shape) * ~torch.isnan(input)


def logsumexp(input: Tensor, dims: Dims, keepdim: bool) -> Tensor:
    """y = ln(sum of e^x over `dims`), without overflow on the way."""
    return torch.logsumexp(input, dims, keepdim)


def logsumexp_backward(grad: Tensor, input: Tensor, output: Tensor, dims: Dims, keepdim: bool) -> Tensor:
    """dL/dx = dL/dy * e^(x - y)."""
    grad, output = with_reduced(grad, dims, keepdim), with_reduced(output, dims, keepdim)
    return grad * torch.exp(input - output)


def prod(input: Tensor, dim: int, keepdim: bool) -> Tensor:
    """y = product of x along `dim`."""
    return torch.prod(input, dim, keepdim)


def prod_backward(grad: Tensor, input: Tensor, output: Tensor, dim: int, keepdim: bool) -> Tensor:
    """dL/dx_i = dL/dy * the product of the others: y / x_i; that without x_i if it is the only zero; 0 if not."""
    if input.dim() == 0:
        return grad
    grad, output = with_reduced(grad, (dim,), keepdim), with_reduced(output, (dim,), keepdim)
    zero = input == 0
    filled = torch.where(zero, 1, input)
    only = zero & (zero.sum(dim, keepdim=True) == 1)
    others = torch.where(only, filled.prod(dim, keepdim=True), output / filled)
    return grad * others

"""Sums and means, each beside its derivative."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["mean", "mean_backward", "sum", "sum_backward"]

Dims = tuple[int, ...]


def sum(input: Tensor, dims: Dims, keepdim: bool = False) -> Tensor:
    """y = sum of x over `dims` (each from 0 up)."""
    return input.sum(dims, keepdim) if dims or input.dim() == 0 else input.clone()


def sum_backward(grad: Tensor, input_shape: torch.Size, dims: Dims, keepdim: bool = False) -> Tensor:
    """dL/dx = dL/dy at every place that was summed.   grad: the output's shape; returns `input_shape`."""
    if not keepdim:
        for d in sorted(dims):
            grad = grad.unsqueeze(d)
    return grad.expand(input_shape)


def mean(input: Tensor, dims: Dims, keepdim: bool = False) -> Tensor:
    """y = (1/n) sum of x over `dims`, n the number of values in each sum."""
    return input.mean(dims, keepdim) if dims or input.dim() == 0 else input.clone()


def mean_backward(grad: Tensor, input_shape: torch.Size, dims: Dims, keepdim: bool = False) -> Tensor:
    """dL/dx = dL/dy / n at every place.   grad: the output's shape; returns `input_shape`."""
    count = math.prod(input_shape[d] for d in dims)
    return sum_backward(grad / count, input_shape, dims, keepdim) if count else grad.new_zeros(input_shape)

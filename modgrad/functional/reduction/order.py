"""Extremes, medians and sorting, each beside its derivative.

Of the whole tensor, or `amax` over dimensions: values that tie share the gradient equally. Along one dimension,
where an index says which value was taken: that value gets it. Both as PyTorch does.
"""

from __future__ import annotations

import torch
from torch import Tensor

from modgrad.functional.reduction.sums import Dims, with_reduced

__all__ = [
    "amax",
    "amax_backward",
    "amin",
    "amin_backward",
    "cummax",
    "cummin",
    "kthvalue",
    "max",
    "max_along",
    "max_backward",
    "median",
    "median_along",
    "median_backward",
    "min",
    "min_along",
    "min_backward",
    "mode",
    "nanmedian",
    "nanmedian_along",
    "nanmedian_backward",
    "sort",
    "taken_backward",
    "topk",
]

Pair = tuple[Tensor, Tensor]


def amax(input: Tensor, dims: Dims, keepdim: bool) -> Tensor:
    """y = the largest x over `dims`."""
    return torch.amax(input, dims, keepdim)


def amax_backward(grad: Tensor, input: Tensor, output: Tensor, dims: Dims, keepdim: bool) -> Tensor:
    """dL/dx = dL/dy / n at each of the n values that are the largest, 0 elsewhere. NaN where y is."""
    chosen = input == with_reduced(output, dims, keepdim)
    count = chosen.sum(dims, keepdim=True) if dims else chosen
    return with_reduced(grad, dims, keepdim) * chosen / count


def amin(input: Tensor, dims: Dims, keepdim: bool) -> Tensor:
    """y = the smallest x over `dims`."""
    return torch.amin(input, dims, keepdim)


def amin_backward(grad: Tensor, input: Tensor, output: Tensor, dims: Dims, keepdim: bool) -> Tensor:
    """dL/dx = dL/dy / n at each of the n values that are the smallest, 0 elsewhere. NaN where y is."""
    return amax_backward(grad, input, output, dims, keepdim)


def max(input: Tensor) -> Tensor:
    """y = the largest x of all."""
    return torch.max(input)


def max_backward(grad: Tensor, input: Tensor, output: Tensor) -> Tensor:
    """dL/dx = dL/dy / n at each of the n values that are y, or NaN as y is; 0 elsewhere."""
    chosen = (input == output) | (torch.isnan(input) & torch.isnan(output))
    return torch.where(chosen, grad / chosen.sum(), 0)


def min(input: Tensor) -> Tensor:
    """y = the smallest x of all."""
    return torch.min(input)


def min_backward(grad: Tensor, input: Tensor, output: Tensor) -> Tensor:
    """dL/dx = dL/dy / n at each of the n values that are y, or NaN as y is; 0 elsewhere."""
    return max_backward(grad, input, output)


def median(input: Tensor) -> Tensor:
    """y = the middle x of all in order, the lower one of two; NaN if there is one."""
    return torch.median(input)


def median_backward(grad: Tensor, input: Tensor, output: Tensor) -> Tensor:
    """dL/dx = dL/dy / n at each of the n values that are y, or NaN as y is; 0 elsewhere."""
    return max_backward(grad, input, output)


def nanmedian(input: Tensor) -> Tensor:
    """y = the middle x of those that are not NaN, the lower one of two."""
    return torch.nanmedian(input)


def nanmedian_backward(grad: Tensor, input: Tensor, output: Tensor) -> Tensor:
    """dL/dx = dL/dy / n at each of the n values that are y, or NaN as y is; 0 elsewhere."""
    return max_backward(grad, input, output)


def max_along(input: Tensor, dim: int, keepdim: bool) -> Pair:
    """The largest x along `dim`, and its index. Derivative: `taken_backward`."""
    return _pair(torch.max(input, dim, keepdim))


def min_along(input: Tensor, dim: int, keepdim: bool) -> Pair:
    """The smallest x along `dim`, and its index. Derivative: `taken_backward`."""
    return _pair(torch.min(input, dim, keepdim))


def median_along(input: Tensor, dim: int, keepdim: bool) -> Pair:
    """The middle x along `dim`, the lower one of two, and its index. Derivative: `taken_backward`."""
    return _pair(torch.median(input, dim, keepdim))


def nanmedian_along(input: Tensor, dim: int, keepdim: bool) -> Pair:
    """The middle x along `dim` of those that are not NaN, and its index. Derivative: `taken_backward`."""
    return _pair(torch.nanmedian(input, dim, keepdim))


def mode(input: Tensor, dim: int, keepdim: bool) -> Pair:
    """The most frequent x along `dim`, the smallest one of several, and its index. Derivative: `taken_backward`."""
    return _pair(torch.mode(input, dim, keepdim))


def kthvalue(input: Tensor, k: int, dim: int, keepdim: bool) -> Pair:
    """The k-th smallest x along `dim`, from 1 on, and its index. Derivative: `taken_backward`."""
    return _pair(torch.kthvalue(input, k, dim, keepdim))


def topk(input: Tensor, k: int, dim: int, largest: bool, sorted: bool) -> Pair:
    """The k largest (or smallest) x along `dim`, and their indices. Derivative: `taken_backward`."""
    return _pair(torch.topk(input, k, dim, largest, sorted))


def sort(input: Tensor, dim: int, descending: bool, stable: bool) -> Pair:
    """x in order along `dim`, and the indices that put it so. Derivative: `taken_backward`."""
    return _pair(torch.sort(input, dim=dim, descending=descending, stable=stable))


def cummax(input: Tensor, dim: int) -> Pair:
    """The largest x so far along `dim`, and its index. Derivative: `taken_backward`."""
    return _pair(torch.cummax(input, dim))


def cummin(input: Tensor, dim: int) -> Pair:
    """The smallest x so far along `dim`, and its index. Derivative: `taken_backward`."""
    return _pair(torch.cummin(input, dim))


def taken_backward(grad: Tensor, input_shape: torch.Size, indices: Tensor, dim: int) -> Tensor:
    """dL/dx = the sum of dL/dy over the places that took x.   grad, indices: alike, of x's dimensions."""
    return grad.new_zeros(input_shape).scatter_add(dim, indices, grad)


def _pair(found: tuple[Tensor, ...]) -> Pair:
    values, indices = found
    return values, indices

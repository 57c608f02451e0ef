"""Reducing values into places that an index names, beside its derivatives."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = [
    "scatter_reduce",
    "scatter_reduce_grad_input",
    "scatter_reduce_grad_src",
]


def scatter_reduce(input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, include_self: bool) -> Tensor:
    """y[p] = the sum, prod, mean, amax or amin of the src[q] that `index` sends to p, and of x[p] if `include_self`.

    index[i, j, k] sends src[i, j, k] to p = (index[i, j, k], j, k) for dim 0, and so on; src: index's shape. A place
    that nothing is sent to keeps x[p].
    """
    return torch.scatter_reduce(input, dim, index, src, reduce, include_self=include_self)


def scatter_reduce_grad_input(
    grad: Tensor, input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, include_self: bool, output: Tensor
) -> Tensor:
    """dL/dx[p] = dL/dy[p] dy[p]/dx[p], and 0 where x[p] did not take part.

    dy/dx: 1 for sum; 1/n for mean, n the number of values at p; for amax and amin 1/n for the n values that are y; for
    prod the product of the others.
    """
    if reduce == "sum":
        part = grad
    elif reduce == "mean":
        part = grad / _count(input, dim, index, src, include_self)
    elif reduce == "prod":
        ones = torch.where(input == 0, 1, input)
        part = grad * torch.scatter_reduce(ones, dim, index, src, "prod", include_self=include_self) / ones
    else:
        part = (input == output) * _share(grad, input, dim, index, src, output)
    return part if include_self else torch.scatter(part, dim, index, 0)


def scatter_reduce_grad_src(
    grad: Tensor, input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, include_self: bool, output: Tensor
) -> Tensor:
    """dL/dsrc[q] = dL/dy[p] dy[p]/dsrc[q], for the p that `index` sends q to; dy/dsrc as for x."""
    if reduce == "sum":
        return torch.gather(grad, dim, index)
    if reduce == "mean":
        return torch.gather(grad / _count(input, dim, index, src, include_self), dim, index)
    if reduce == "prod":
        return _prod_grad_src(grad, input, dim, index, src, include_self, output)
    at_src = torch.gather(output, dim, index)
    return (src == at_src) * torch.gather(_share(grad, input, dim, index, src, output), dim, index)


def _count(input: Tensor, dim: int, index: Tensor, src: Tensor, include_self: bool) -> Tensor:
    """How many values there are at each place, 1 where none."""
    start = torch.full_like(input, float(include_self))
    return torch.clamp(torch.scatter_add(start, dim, index, torch.ones_like(src)), min=1)


def _share(grad: Tensor, input: Tensor, dim: int, index: Tensor, src: Tensor, output: Tensor) -> Tensor:
    """dL/dy divided by how many values at each place are y, x counted always, as PyTorch does."""
    hits = (src == torch.gather(output, dim, index)).to(grad.dtype)
    return grad / torch.scatter_add((input == output).to(grad.dtype), dim, index, hits)


def _prod_grad_src(
    grad: Tensor, input: Tensor, dim: int, index: Tensor, src: Tensor, include_self: bool, output: Tensor
) -> Tensor:
    """dL/dsrc[q] = dL/dy[p] y[p] / src[q]; where src[q] is the only zero of p, the product without it; 0 for more."""
    zero = src == 0
    zeros = torch.scatter_add(torch.zeros_like(input), dim, index, zero.to(input.dtype))
    only = zero & (torch.gather(zeros, dim, index) == 1)
    filled = torch.where(only, 1, src)
    without = torch.scatter_reduce(input, dim, index, filled, "prod", include_self=include_self)
    divided = torch.gather(grad * output, dim, index) / torch.where(zero, 1, src)
    return torch.where(only, torch.gather(grad * without, dim, index), divided)

"""Variances and norms, each beside its derivative."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from modgrad.functional.reduction.sums import Dims, with_reduced

__all__ = [
    "norm",
    "norm_backward",
    "std",
    "std_backward",
    "var",
    "var_backward",
]


def var(input: Tensor, dims: Dims, correction: float, keepdim: bool) -> Tensor:
    """y = sum of (x - mean)^2 over `dims`, divided by n - correction.   n: the number of values in each sum."""
    return torch.var(input, dims, correction=correction, keepdim=keepdim)


def var_backward(grad: Tensor, input: Tensor, dims: Dims, correction: float, keepdim: bool) -> Tensor:
    """dL/dx = dL/dy * 2 (x - mean) / (n - correction)."""
    freedom = math.prod(input.shape[d] for d in dims) - correction
    factor = 2 / freedom if freedom > 0 else math.inf  # then 0 * inf, or inf: there is no variance of one value
    return factor * with_reduced(grad, dims, keepdim) * (input - input.mean(dims, keepdim=True))


def std(input: Tensor, dims: Dims, correction: float, keepdim: bool) -> Tensor:
    """y = sqrt(var(x))."""
    return torch.std(input, dims, correction=correction, keepdim=keepdim)


def std_backward(grad: Tensor, input: Tensor, output: Tensor, dims: Dims, correction: float, keepdim: bool) -> Tensor:
    """dL/dx: that of the variance, with dL/dvar = dL/dy / (2 y), and 0 where y = 0."""
    grad_var = torch.where(output == 0, 0, grad / (2 * output))
    return var_backward(grad_var, input, dims, correction, keepdim)


def norm(input: Tensor, p: float, dims: Dims, keepdim: bool) -> Tensor:
    """y = (sum of |x|^p over `dims`)^(1/p); the largest |x| for p = inf, the smallest for -inf, their number for 0."""
    return torch.linalg.vector_norm(input, p, dims, keepdim)


def norm_backward(grad: Tensor, input: Tensor, output: Tensor, p: float, dims: Dims, keepdim: bool) -> Tensor:
    """dL/dx = dL/dy * sign(x) (|x| / y)^(p - 1), and 0 where y = 0, as for p < 1 also where x = 0.

    For p = inf and -inf every x with |x| = y gets an equal share of dL/dy. For p = 0 it is 0.
    """
    grad, output = with_reduced(grad, dims, keepdim), with_reduced(output, dims, keepdim)
    if p == 0:
        return torch.zeros_like(input)
    if p == 1:
        return torch.sign(input) * grad
    if p == 2:
        return grad * torch.where(output == 0, 0, input / output)
    size = torch.abs(input)
    if math.isinf(p):
        extreme = (size == output) | torch.isnan(size)
        return torch.sign(input) * (grad / _count(extreme, dims) * extreme)
    if p < 1:
        powers = torch.where(input == 0, 0, torch.sign(input) * size ** (p - 1))
        return powers * grad * output ** (1 - p)
    powers = torch.sign(input) * size ** (p - 1) if p < 2 else input * size ** (p - 2)
    return powers * torch.where(output == 0, 0, grad / output ** (p - 1))


def _count(mask: Tensor, dims: Dims) -> Tensor:
    """How many are true over `dims`."""
    return mask.sum(dims, keepdim=True) if dims else mask.to(torch.int64)

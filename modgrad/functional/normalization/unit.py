"""Vectors brought to length 1.   Shapes: input any; norm the same with 1 in place of the dimensions `dim`."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["normalize", "normalize_backward"]

Dims = int | tuple[int, ...]


def normalize(input: Tensor, p: float, dim: Dims, eps: float) -> tuple[Tensor, Tensor]:
    """y = x / max(n, eps), with n = (sum |x_i|^p)^(1/p) along `dim`; for p = inf the largest |x_i|.   Returns y, n."""
    norm = torch.linalg.vector_norm(input, p, dim, keepdim=True)
    return input / norm.clamp_min(eps), norm


def normalize_backward(grad: Tensor, input: Tensor, norm: Tensor, p: float, dim: Dims, eps: float) -> Tensor:
    """With m = max(n, eps):   dL/dx_i = g_i / m - [n >= eps] (sum g x) / m^2 dn/dx_i.

    dn/dx_i = sign(x_i) (|x_i| / n)^(p-1), and 0 where n = 0; for p = inf sign(x_i) / k at the k largest |x_i|; for
    p = 0, which counts, 0. A p < 1 has no slope at x_i = 0: it is taken to be 0.   grad, input: alike.
    """
    length = norm.clamp_min(eps)
    along = (grad * input).sum(dim, keepdim=True)
    grad_norm = torch.where(norm >= eps, -along / (length * length), torch.zeros_like(norm))
    return grad / length + grad_norm * _norm_slope(input, norm, p, dim)


def _norm_slope(input: Tensor, norm: Tensor, p: float, dim: Dims) -> Tensor:
    """dn/dx."""
    if p == 0:
        return torch.zeros_like(input)
    if p == 1:
        return torch.sign(input)
    if math.isinf(p):
        largest = input.abs() == norm
        return torch.sign(input) * largest / largest.sum(dim, keepdim=True)
    ratio = input.abs() / torch.where(norm == 0, torch.ones_like(norm), norm)
    slope = torch.sign(input) * ratio ** (p - 1)
    return torch.where(input == 0, torch.zeros_like(slope), slope) if p < 1 else slope

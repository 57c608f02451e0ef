"""Distances and similarities of vectors, each beside its derivative."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["cosine_similarity", "cosine_similarity_backward", "pairwise_distance", "pairwise_distance_backward"]


def pairwise_distance(
    input1: Tensor, input2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    """y = |d|_p, d = x1 - x2 + eps: the p-norm over the last dimension.   input1, input2 (..., D), y (...)."""
    return torch.linalg.vector_norm(input1 - input2 + eps, p, -1, keepdim)


def pairwise_distance_backward(
    grad: Tensor,
    input1: Tensor,
    input2: Tensor,
    output: Tensor,
    p: float = 2.0,
    eps: float = 1e-6,
    keepdim: bool = False,
) -> Tensor:
    """dL/dx1 = sign(d) (|d| / y)^(p-1) dL/dy, and 0 where d or y is 0; dL/dx2 is its negative.

    p infinite: the largest |d| (the least, for -inf) gets sign(d) dL/dy, in equal parts if there are several.
    p = 0: 0.   grad, output: alike; returns (..., D).
    """
    difference = input1 - input2 + eps
    if not keepdim:
        grad, output = grad.unsqueeze(-1), output.unsqueeze(-1)
    if p == 0:
        return torch.zeros_like(difference)
    if p == 1:
        return torch.sign(difference) * grad
    if p == 2:
        return grad * (difference / _or_one(output))
    size = torch.abs(difference)
    if math.isinf(p):
        attained = ((size == output) | (torch.isnan(size) & torch.isnan(output))).to(grad.dtype)
        return torch.sign(difference) * (grad / attained.sum(-1, keepdim=True) * attained)
    scale = torch.where(output == 0, 0, grad / output ** (p - 1))
    return torch.sign(difference) * torch.where(size == 0, 0, size ** (p - 1)) * scale


def cosine_similarity(input1: Tensor, input2: Tensor, dim: int = 1, eps: float = 1e-8) -> tuple[Tensor, Tensor, Tensor]:
    """y = x1 . x2 / (max(|x1|, eps) max(|x2|, eps)) along `dim`.   input1, input2 alike.

    Returns y, without `dim`, and |x1| and |x2|, with `dim` of size 1.
    """
    norm1 = torch.linalg.vector_norm(input1, 2, dim, keepdim=True)
    norm2 = torch.linalg.vector_norm(input2, 2, dim, keepdim=True)
    unit1, unit2 = input1 / norm1.clamp_min(eps), input2 / norm2.clamp_min(eps)
    return (unit1 * unit2).sum(dim), norm1, norm2


def cosine_similarity_backward(
    grad: Tensor,
    input1: Tensor,
    input2: Tensor,
    output: Tensor,
    norm1: Tensor,
    norm2: Tensor,
    dim: int = 1,
    eps: float = 1e-8,
) -> Tensor:
    """dL/dx1 = (x2 / max(|x2|, eps) - y x1 / |x1|) / max(|x1|, eps) dL/dy; dL/dx2 is that with 1 and 2 exchanged.

    So too where |x1| < eps, as if y had no max(); with x1 / |x1| = 0 at x1 = 0.
    """
    grad, output = grad.unsqueeze(dim), output.unsqueeze(dim)
    direction = input1 / _or_one(norm1)
    return (input2 / norm2.clamp_min(eps) - output * direction) * (grad / norm1.clamp_min(eps))


def _or_one(norm: Tensor) -> Tensor:
    """A norm to divide by what it is the norm of: where it is 0, so is that."""
    return torch.where(norm == 0, 1, norm)

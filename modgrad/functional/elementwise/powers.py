"""Roots, exponentials and logarithms, each beside its derivative."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = [
    "exp2",
    "exp2_backward",
    "expm1",
    "expm1_backward",
    "log1p",
    "log1p_backward",
    "log2",
    "log2_backward",
    "log10",
    "log10_backward",
    "rsqrt",
    "rsqrt_backward",
]


def rsqrt(input: Tensor) -> Tensor:
    """y = x^(-1/2)."""
    return torch.rsqrt(input)


def rsqrt_backward(grad: Tensor, output: Tensor) -> Tensor:
    """dL/dx = -dL/dy * y^3 / 2."""
    return -0.5 * grad * output**3


def exp2(input: Tensor) -> Tensor:
    """y = 2^x."""
    return torch.exp2(input)


def exp2_backward(grad: Tensor, output: Tensor) -> Tensor:
    """dL/dx = dL/dy * y ln 2."""
    return grad * output * math.log(2)


def expm1(input: Tensor) -> Tensor:
    """y = e^x - 1, exact for small x too."""
    return torch.expm1(input)


def expm1_backward(grad: Tensor, output: Tensor) -> Tensor:
    """dL/dx = dL/dy * (y + 1)."""
    return grad * (output + 1)


def log2(input: Tensor) -> Tensor:
    """y = ln x / ln 2."""
    return torch.log2(input)


def log2_backward(grad: Tensor, input: Tensor) -> Tensor:
    """dL/dx = dL/dy / (x ln 2)."""
    return grad / (input * math.log(2))


def log10(input: Tensor) -> Tensor:
    """y = ln x / ln 10."""
    return torch.log10(input)


def log10_backward(grad: Tensor, input: Tensor) -> Tensor:
    """dL/dx = dL/dy / (x ln 10)."""
    return grad / (input * math.log(10))


def log1p(input: Tensor) -> Tensor:
    """y = ln(1 + x), exact for small x too."""
    return torch.log1p(input)


def log1p_backward(grad: Tensor, input: Tensor) -> Tensor:
    """dL/dx = dL/dy / (1 + x)."""
    return grad / (input + 1)

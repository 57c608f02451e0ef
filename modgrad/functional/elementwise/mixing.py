"""Elementwise functions of three tensors, each beside its derivatives."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = [
    "addcdiv",
    "addcdiv_grad_input",
    "addcdiv_grad_tensor1",
    "addcdiv_grad_tensor2",
    "addcmul",
    "addcmul_grad_input",
    "addcmul_grad_tensor1",
    "addcmul_grad_tensor2",
    "lerp",
    "lerp_grad_end",
    "lerp_grad_input",
    "lerp_grad_weight",
]

Number = Tensor | float


def lerp(input: Tensor, end: Tensor, weight: Number) -> Tensor:
    """y = a + w (b - a)."""
    return torch.lerp(input, end, weight)


def lerp_grad_input(grad: Tensor, weight: Number) -> Tensor:
    """dL/da = dL/dy * (1 - w)."""
    return grad * (1 - weight)


def lerp_grad_end(grad: Tensor, weight: Number) -> Tensor:
    """dL/db = dL/dy * w."""
    return grad * weight


def lerp_grad_weight(grad: Tensor, input: Tensor, end: Tensor) -> Tensor:
    """dL/dw = dL/dy * (b - a)."""
    return grad * (end - input)


def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, value: float) -> Tensor:
    """y = a + value b c."""
    return torch.addcmul(input, tensor1, tensor2, value=value)


def addcmul_grad_input(grad: Tensor) -> Tensor:
    """dL/da = dL/dy."""
    return grad


def addcmul_grad_tensor1(grad: Tensor, tensor2: Tensor, value: float) -> Tensor:
    """dL/db = dL/dy * value c."""
    return grad * (tensor2 * value)


def addcmul_grad_tensor2(grad: Tensor, tensor1: Tensor, value: float) -> Tensor:
    """dL/dc = dL/dy * value b."""
    return grad * (tensor1 * value)


def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, value: float) -> Tensor:
    """y = a + value b / c."""
    return torch.addcdiv(input, tensor1, tensor2, value=value)


def addcdiv_grad_input(grad: Tensor) -> Tensor:
    """dL/da = dL/dy."""
    return grad


def addcdiv_grad_tensor1(grad: Tensor, tensor2: Tensor, value: float) -> Tensor:
    """dL/db = dL/dy * value / c."""
    return grad * (value / tensor2)


def addcdiv_grad_tensor2(grad: Tensor, tensor1: Tensor, tensor2: Tensor, value: float) -> Tensor:
    """dL/dc = -dL/dy * value b / c^2."""
    return -grad * (value * tensor1 / (tensor2 * tensor2))

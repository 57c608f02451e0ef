"""Made of straight pieces, with kinks that are not at 0 alone. Each beside its derivative; at a kink as in PyTorch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from modgrad.functional.kernel import direct, in_place, kernel

__all__ = [
    "hardshrink",
    "hardshrink_backward",
    "hardshrink_backward_",
    "hardsigmoid",
    "hardsigmoid_backward",
    "hardsigmoid_backward_",
    "hardswish",
    "hardswish_backward",
    "hardtanh",
    "hardtanh_backward",
    "hardtanh_backward_",
    "softshrink",
    "softshrink_backward",
    "softshrink_backward_",
]

aten = torch.ops.aten
_nn: Any = torch._C._nn
_hardsigmoid_backward = direct(aten.hardsigmoid_backward.default)
_hardsigmoid_backward_out = direct(aten.hardsigmoid_backward.grad_input)
_hardshrink_backward = direct(aten.hardshrink_backward.default)
_hardshrink_backward_out = direct(aten.hardshrink_backward.grad_input)


@kernel(_nn.hardtanh)
def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """y = min(max(x, min_val), max_val). From 0 to 6 it is relu6.   Collobert 2004; Krizhevsky 2010 for relu6."""
    return torch.clamp(input, min_val, max_val)


@kernel(aten.hardtanh_backward.default)
def hardtanh_backward(grad: Tensor, output: Tensor, min_val: float, max_val: float) -> Tensor:
    """dL/dx = dL/dy where min_val < y < max_val, else 0.   grad, output (or input, which says the same): alike."""
    return torch.where((output > min_val) & (output < max_val), grad, torch.zeros_like(grad))


hardtanh_backward_ = in_place(hardtanh_backward, aten.hardtanh_backward.grad_input)


@kernel(_nn.hardsigmoid)
def hardsigmoid(input: Tensor) -> Tensor:
    """y = min(max(x + 3, 0), 6) / 6.   Courbariaux et al. 2015; in this form Howard et al. 2019."""
    return torch.clamp(input + 3, 0, 6) / 6


# In float64 the kernel takes 1/6 to single precision (PyTorch 2.13), a part in 3e7 too much: there the formula runs.


def _hardsigmoid_backward_kernel(grad: Tensor, input: Tensor) -> Tensor:
    if grad.dtype is torch.float64:
        return NotImplemented
    return _hardsigmoid_backward(grad, input)


def _hardsigmoid_backward_in_place(grad: Tensor, input: Tensor, *, grad_input: Tensor) -> None:
    if grad.dtype is torch.float64:
        grad_input.copy_(hardsigmoid_backward.formula(grad, input))  # type: ignore[attr-defined]
    else:
        _hardsigmoid_backward_out(grad, input, grad_input=grad_input)


@kernel(_hardsigmoid_backward_kernel)
def hardsigmoid_backward(grad: Tensor, input: Tensor) -> Tensor:
    """dL/dx = dL/dy / 6 where -3 < x < 3, else 0.   grad, input: alike."""
    return torch.where((input > -3) & (input < 3), grad / 6, torch.zeros_like(grad))


hardsigmoid_backward_ = in_place(hardsigmoid_backward, _hardsigmoid_backward_in_place)


@kernel(_nn.hardswish)
def hardswish(input: Tensor) -> Tensor:
    """y = x min(max(x + 3, 0), 6) / 6.   Howard et al. 2019, 5.2."""
    return input * torch.clamp(input + 3, 0, 6) / 6


@kernel(aten.hardswish_backward.default)
def hardswish_backward(grad: Tensor, input: Tensor) -> Tensor:
    """dL/dx = dL/dy (x / 3 + 1/2) where -3 < x < 3; below 0, above dL/dy.   grad, input: alike."""
    inner = torch.where(input >= 3, grad, grad * (input / 3 + 0.5))
    return torch.where(input <= -3, torch.zeros_like(grad), inner)


@kernel(torch.hardshrink)
def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """y = x where |x| > lambd, else 0.   lambd >= 0."""
    return torch.where((input >= -lambd) & (input <= lambd), torch.zeros_like(input), input)


def _hardshrink_backward_kernel(grad: Tensor, output: Tensor, lambd: float) -> Tensor:
    if type(grad) is not Tensor:  # while it is traced: the kernel knows no shape with symbols in it (PyTorch 2.13)
        return NotImplemented
    return _hardshrink_backward(grad, output, lambd)


@kernel(_hardshrink_backward_kernel)
def hardshrink_backward(grad: Tensor, output: Tensor, lambd: float) -> Tensor:
    """dL/dx = dL/dy where |y| > lambd, else 0.   grad, output (or input, which says the same): alike."""
    return torch.where((output < -lambd) | (output > lambd), grad, torch.zeros_like(grad))


def _hardshrink_backward_in_place(grad: Tensor, output: Tensor, lambd: float, *, grad_input: Tensor) -> None:
    if type(grad) is not Tensor:
        grad_input.copy_(hardshrink_backward(grad, output, lambd))
    else:
        _hardshrink_backward_out(grad, output, lambd, grad_input=grad_input)


hardshrink_backward_ = in_place(hardshrink_backward, _hardshrink_backward_in_place)


@kernel(_nn.softshrink)
def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """y = x - lambd where x > lambd, x + lambd where x < -lambd, else 0.   lambd >= 0.   Donoho 1995."""
    return torch.where((input >= -lambd) & (input <= lambd), torch.zeros_like(input), input - lambd * torch.sign(input))


def softshrink_backward(grad: Tensor, output: Tensor) -> Tensor:
    """dL/dx = dL/dy where y is not 0, which is where |x| > lambd; else 0.   grad, output: alike."""
    return hardshrink_backward(grad, output, 0.0)


def softshrink_backward_(grad: Tensor, output: Tensor) -> Tensor:
    """`softshrink_backward`, written into grad."""
    return hardshrink_backward_(grad, output, 0.0)

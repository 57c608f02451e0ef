"""Activations, each beside its derivative."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from modgrad.functional.kernel import direct, kernel, running_formulas

__all__ = [
    "gelu",
    "gelu_backward",
    "gelu_backward_",
    "log_softmax",
    "log_softmax_backward",
    "relu",
    "relu_backward",
    "relu_backward_",
    "sigmoid",
    "sigmoid_backward",
    "sigmoid_backward_",
    "softmax",
    "softmax_backward",
    "tanh",
    "tanh_backward",
    "tanh_backward_",
]

aten = torch.ops.aten


def relu(input: Tensor) -> Tensor:
    """y = max(x, 0).   Nair & Hinton 2010."""
    return torch.relu(input)


_threshold_backward = direct(aten.threshold_backward.default)
_threshold_backward_out = direct(aten.threshold_backward.grad_input)
_tanh_backward_out = direct(aten.tanh_backward.grad_input)
_sigmoid_backward_out = direct(aten.sigmoid_backward.grad_input)
_gelu_backward_out = direct(aten.gelu_backward.grad_input)


@kernel(lambda grad, output: _threshold_backward(grad, output, 0))
def relu_backward(grad: Tensor, output: Tensor) -> Tensor:
    """dL/dx = dL/dy where y > 0, else 0 (at x = 0 too).   grad, output: alike."""
    return torch.where(output <= 0, torch.zeros_like(grad), grad)


def relu_backward_(grad: Tensor, output: Tensor) -> Tensor:
    """`relu_backward`, written into grad."""
    if running_formulas():
        return grad.copy_(relu_backward(grad, output))
    return _threshold_backward_out(grad, output, 0, grad_input=grad)


def tanh(input: Tensor) -> Tensor:
    """y = (e^x - e^-x) / (e^x + e^-x)."""
    return torch.tanh(input)


@kernel(aten.tanh_backward.default)
def tanh_backward(grad: Tensor, output: Tensor) -> Tensor:
    """dL/dx = dL/dy * (1 - y^2).   grad, output: alike."""
    return grad * (1 - output * output)


def tanh_backward_(grad: Tensor, output: Tensor) -> Tensor:
    """`tanh_backward`, written into grad."""
    if running_formulas():
        return grad.copy_(tanh_backward(grad, output))
    return _tanh_backward_out(grad, output, grad_input=grad)


def sigmoid(input: Tensor) -> Tensor:
    """y = 1 / (1 + e^-x)."""
    return torch.sigmoid(input)


@kernel(aten.sigmoid_backward.default)
def sigmoid_backward(grad: Tensor, output: Tensor) -> Tensor:
    """dL/dx = dL/dy * y (1 - y).   grad, output: alike."""
    return grad * (1 - output) * output


def sigmoid_backward_(grad: Tensor, output: Tensor) -> Tensor:
    """`sigmoid_backward`, written into grad."""
    if running_formulas():
        return grad.copy_(sigmoid_backward(grad, output))
    return _sigmoid_backward_out(grad, output, grad_input=grad)


def softmax(input: Tensor, dim: int) -> Tensor:
    """y_i = e^x_i / sum_j e^x_j along `dim`.   Bridle 1990."""
    return torch.softmax(input, dim)


@kernel(lambda grad, output, dim: torch._softmax_backward_data(grad, output, dim, grad.dtype))
def softmax_backward(grad: Tensor, output: Tensor, dim: int) -> Tensor:
    """dL/dx_i = y_i (dL/dy_i - sum_j dL/dy_j y_j).   grad, output: alike."""
    return output * (grad - (grad * output).sum(dim, keepdim=True))


def log_softmax(input: Tensor, dim: int) -> Tensor:
    """y_i = x_i - log sum_j e^x_j along `dim`."""
    return torch.log_softmax(input, dim)


@kernel(lambda grad, output, dim: torch._log_softmax_backward_data(grad, output, dim, grad.dtype))
def log_softmax_backward(grad: Tensor, output: Tensor, dim: int) -> Tensor:
    """dL/dx_i = dL/dy_i - e^y_i sum_j dL/dy_j.   grad, output: alike."""
    return grad - torch.exp(output) * grad.sum(dim, keepdim=True)


_gelu: Any = torch._C._nn.gelu
_gelu_backward = direct(aten.gelu_backward.default)
# gelu's approximation by tanh: Phi(x) = (1 + tanh(k (x + c x^3))) / 2
_K, _C = math.sqrt(2 / math.pi), 0.044715


@kernel(lambda input, approximate="none": _gelu(input, approximate=approximate))
def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """y = x Phi(x), with Phi the normal distribution function; or "tanh", near to it.   Hendrycks & Gimpel 2016, eq. 2.

    Phi(x) = (1 + erf(x / sqrt 2)) / 2, or (1 + tanh(k (x + c x^3))) / 2 with k = sqrt(2 / pi), c = 0.044715.
    """
    if approximate == "tanh":
        return 0.5 * input * (1 + torch.tanh(_K * (input + _C * input**3)))
    return 0.5 * input * (1 + torch.erf(input / math.sqrt(2)))


@kernel(lambda grad, input, approximate="none": _gelu_backward(grad, input, approximate=approximate))
def gelu_backward(grad: Tensor, input: Tensor, approximate: str = "none") -> Tensor:
    """dL/dx = dL/dy (Phi(x) + x phi(x)), with phi = Phi' the normal density.   grad, input: alike.

    phi(x) = e^(-x^2 / 2) / sqrt(2 pi), or (1 - t^2) k (1 + 3 c x^2) / 2 with t the tanh.
    """
    if approximate == "tanh":
        t = torch.tanh(_K * (input + _C * input**3))
        distribution, density = (1 + t) / 2, (1 - t * t) * (_K * (1 + 3 * _C * input**2)) / 2
    else:
        distribution = (1 + torch.erf(input / math.sqrt(2))) / 2
        density = torch.exp(-input * input / 2) / math.sqrt(2 * math.pi)
    return grad * (distribution + input * density)


def gelu_backward_(grad: Tensor, input: Tensor, approximate: str = "none") -> Tensor:
    """`gelu_backward`, written into grad."""
    if running_formulas():
        return grad.copy_(gelu_backward(grad, input, approximate))
    return _gelu_backward_out(grad, input, approximate=approximate, grad_input=grad)

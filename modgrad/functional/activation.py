"""Activations, each beside its derivative."""

from __future__ import annotations

import torch
from torch import Tensor

from modgrad.functional.kernel import direct, kernel

aten = torch.ops.aten


def relu(input: Tensor) -> Tensor:
    """y = max(x, 0).   Nair & Hinton 2010."""
    return torch.relu(input)


_threshold_backward = direct(aten.threshold_backward.default)


@kernel(lambda grad, output: _threshold_backward(grad, output, 0))
def relu_backward(grad: Tensor, output: Tensor) -> Tensor:
    """dL/dx = dL/dy where y > 0, else 0 (at x = 0 too).   grad, output: alike."""
    return torch.where(output <= 0, torch.zeros_like(grad), grad)


def tanh(input: Tensor) -> Tensor:
    """y = (e^x - e^-x) / (e^x + e^-x)."""
    return torch.tanh(input)


@kernel(aten.tanh_backward.default)
def tanh_backward(grad: Tensor, output: Tensor) -> Tensor:
    """dL/dx = dL/dy * (1 - y^2).   grad, output: alike."""
    return grad * (1 - output * output)


def sigmoid(input: Tensor) -> Tensor:
    """y = 1 / (1 + e^-x)."""
    return torch.sigmoid(input)


@kernel(aten.sigmoid_backward.default)
def sigmoid_backward(grad: Tensor, output: Tensor) -> Tensor:
    """dL/dx = dL/dy * y (1 - y).   grad, output: alike."""
    return grad * (1 - output) * output


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

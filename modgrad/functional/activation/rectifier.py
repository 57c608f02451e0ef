"""ReLU and its kind: straight on either side of 0 (or of a threshold). Each beside its derivative."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from modgrad.functional.dropout import random_uniform
from modgrad.functional.kernel import direct, in_place, kernel

__all__ = [
    "leaky_relu",
    "leaky_relu_backward",
    "leaky_relu_backward_",
    "prelu",
    "prelu_backward",
    "prelu_grad_input",
    "prelu_grad_weight",
    "relu",
    "relu_backward",
    "relu_backward_",
    "rrelu",
    "rrelu_backward",
    "rrelu_keyed",
    "threshold",
    "threshold_backward",
    "threshold_backward_",
]

aten = torch.ops.aten
_nn: Any = torch._C._nn


def relu(input: Tensor) -> Tensor:
    """y = max(x, 0).   Nair & Hinton 2010."""
    return torch.relu(input)


_threshold_backward = direct(aten.threshold_backward.default)
_threshold_backward_out = direct(aten.threshold_backward.grad_input)


@kernel(lambda grad, output: _threshold_backward(grad, output, 0))
def relu_backward(grad: Tensor, output: Tensor) -> Tensor:
    """dL/dx = dL/dy where y > 0, else 0 (at x = 0 too).   grad, output: alike."""
    return torch.where(output <= 0, torch.zeros_like(grad), grad)


relu_backward_ = in_place(
    relu_backward, lambda grad, output, grad_input: _threshold_backward_out(grad, output, 0, grad_input=grad_input)
)


@kernel(torch.threshold)
def threshold(input: Tensor, threshold: float, value: float) -> Tensor:
    """y = x where x > threshold, else value."""
    return torch.where(input <= threshold, torch.full_like(input, value), input)


@kernel(aten.threshold_backward.default)
def threshold_backward(grad: Tensor, input: Tensor, threshold: float) -> Tensor:
    """dL/dx = dL/dy where x > threshold, else 0.   grad, input: alike.

    Where value <= threshold, the output says the same in place of the input.
    """
    return torch.where(input <= threshold, torch.zeros_like(grad), grad)


threshold_backward_ = in_place(threshold_backward, aten.threshold_backward.grad_input)


@kernel(_nn.leaky_relu)
def leaky_relu(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """y = x where x > 0, else slope x.   Maas et al. 2013."""
    return torch.where(input > 0, input, input * negative_slope)


_leaky_relu_backward = direct(aten.leaky_relu_backward.default)
_leaky_relu_backward_out = direct(aten.leaky_relu_backward.grad_input)


@kernel(lambda grad, input, negative_slope: _leaky_relu_backward(grad, input, negative_slope, False))
def leaky_relu_backward(grad: Tensor, input: Tensor, negative_slope: float) -> Tensor:
    """dL/dx = dL/dy where x > 0, else slope dL/dy.   grad, input: alike.

    Where slope >= 0, the output says the same in place of the input.
    """
    return torch.where(input > 0, grad, grad * negative_slope)


leaky_relu_backward_ = in_place(
    leaky_relu_backward,
    lambda grad, input, slope, *, grad_input: _leaky_relu_backward_out(
        grad, input, slope, False, grad_input=grad_input
    ),
)


def _of_channel(weight: Tensor, input: Tensor) -> Tensor:
    """The weight, so that it meets its channel: dimension 1 of the input (N, C, ...)."""
    if weight.dim() == 1 and input.dim() > 1:
        return weight.reshape(-1, *([1] * (input.dim() - 2)))
    return weight.reshape(()) if weight.dim() > input.dim() else weight


@kernel(torch.prelu)
def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """y = x where x > 0, else w x.   input (N, C, ...) or any shape; weight (C), or (1) or () for all.

    He et al. 2015, eq. 1.
    """
    return torch.where(input > 0, input, _of_channel(weight, input) * input)


def _prelu_backward_kernel(grad: Tensor, input: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    spread = _of_channel(weight, input)
    grad_input, of_each = aten._prelu_kernel_backward(grad, input, spread)
    return grad_input, _to_weight(of_each, weight)


@kernel(_prelu_backward_kernel)
def prelu_backward(grad: Tensor, input: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """(dL/dx, dL/dw): `prelu_grad_input` and `prelu_grad_weight`, in one pass."""
    return prelu_grad_input(grad, input, weight), prelu_grad_weight(grad, input, weight)


def prelu_grad_input(grad: Tensor, input: Tensor, weight: Tensor) -> Tensor:
    """dL/dx = dL/dy where x > 0, else w dL/dy.   grad, input: alike."""
    return torch.where(input > 0, grad, _of_channel(weight, input) * grad)


def prelu_grad_weight(grad: Tensor, input: Tensor, weight: Tensor) -> Tensor:
    """dL/dw = the sum of x dL/dy over the x <= 0 that w is for.   grad, input: alike; returns weight's shape."""
    return _to_weight(torch.where(input > 0, torch.zeros_like(grad), input * grad), weight)


def _to_weight(of_each: Tensor, weight: Tensor) -> Tensor:
    """The gradients of w at each element, summed to w's shape."""
    if weight.numel() == 1:
        return of_each.sum().reshape(weight.shape)
    return of_each.sum([d for d in range(of_each.dim()) if d != 1])


_rrelu = direct(aten.rrelu_with_noise_functional.default)


def rrelu(input: Tensor, lower: float, upper: float) -> tuple[Tensor, Tensor]:
    """y = r x, with r = 1 where x > 0, else of U(lower, upper), at each element by itself.   Xu et al. 2015, 2.4.

    Returns y and r, drawn from torch's generator: from the same seed as PyTorch draws it. It draws for each x <= 0, one
    after another, and nothing for the others, which no formula in tensors of fixed shape does; so there is none.
    """
    noise = torch.empty_like(input, memory_format=torch.contiguous_format)
    output, noise = _rrelu(input, noise, lower, upper, True)
    return output, noise


def rrelu_keyed(input: Tensor, lower: float, upper: float, key: Tensor) -> tuple[Tensor, Tensor]:
    """`rrelu` drawn from a key (see `random_key`): r = lower + (upper - lower) u, with u of `random_uniform`."""
    slopes = (lower + (upper - lower) * random_uniform(key, input.shape)).to(input.dtype)
    noise = torch.where(input <= 0, slopes, torch.ones_like(slopes))
    return input * noise, noise


def rrelu_backward(grad: Tensor, noise: Tensor) -> Tensor:
    """dL/dx = r dL/dy.   grad, noise: alike."""
    return grad * noise

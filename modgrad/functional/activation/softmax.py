"""Softmax and its kind, along a dimension. Each beside its derivative."""

from __future__ import annotations

import torch
from torch import Tensor

from modgrad.functional.dropout import random_uniform
from modgrad.functional.kernel import kernel

__all__ = [
    "gumbel_noise",
    "gumbel_noise_keyed",
    "log_softmax",
    "log_softmax_backward",
    "softmax",
    "softmax_backward",
    "softmin",
    "softmin_backward",
]


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


def softmin(input: Tensor, dim: int) -> Tensor:
    """y_i = e^-x_i / sum_j e^-x_j along `dim`: softmax of -x."""
    return softmax(-input, dim)


def softmin_backward(grad: Tensor, output: Tensor, dim: int) -> Tensor:
    """dL/dx_i = -y_i (dL/dy_i - sum_j dL/dy_j y_j).   grad, output: alike."""
    return -softmax_backward(grad, output, dim)


def gumbel_noise(like: Tensor) -> Tensor:
    """-ln E with E of the exponential distribution, so of Gumbel(0, 1); from torch's generator as PyTorch draws it.

    The largest of x_i + noise_i is the i-th with the probability softmax(x)_i.   Jang et al. 2017, eq. 1.
    """
    return -torch.empty_like(like, memory_format=torch.contiguous_format).exponential_().log()


def gumbel_noise_keyed(like: Tensor, key: Tensor) -> Tensor:
    """`gumbel_noise` drawn from a key (see `random_key`): -ln(-ln u), with u of `random_uniform`, moved off 0."""
    uniform = random_uniform(key, like.shape) + 2.0**-25
    return -torch.log(-torch.log(uniform)).to(like.dtype)

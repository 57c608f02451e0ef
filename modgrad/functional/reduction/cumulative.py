"""Running sums and products, each beside its derivative."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = [
    "cumprod",
    "cumprod_backward",
    "cumsum",
    "cumsum_backward",
    "logcumsumexp",
    "logcumsumexp_backward",
]


def cumsum(input: Tensor, dim: int) -> Tensor:
    """y_i = x_0 + ... + x_i along `dim`."""
    return torch.cumsum(input, dim)


def cumsum_backward(grad: Tensor, dim: int) -> Tensor:
    """dL/dx_i = the sum of dL/dy_j over j >= i."""
    return torch.flip(torch.cumsum(torch.flip(grad, (dim,)), dim), (dim,)) if grad.dim() else grad


def cumprod(input: Tensor, dim: int) -> Tensor:
    """y_i = x_0 ... x_i along `dim`."""
    return torch.cumprod(input, dim)


def cumprod_backward(grad: Tensor, input: Tensor, output: Tensor, dim: int) -> Tensor:
    """dL/dx_i = the sum over j >= i of dL/dy_j y_j / x_i.

    y is 0 from the first zero of x on. What comes after that zero gets nothing; that zero itself gets what the others
    before and after it make, which are the products with a 1 in its place.
    """
    if input.dim() == 0:
        return grad
    zeros_so_far = torch.cumsum(input == 0, dim)
    first_zero = (input == 0) & (zeros_so_far == 1)
    filled = torch.where(input == 0, 1, input)
    before = cumsum_backward(grad * output, dim) / filled
    at_zero = cumsum_backward(grad * torch.cumprod(torch.where(first_zero, 1, input), dim), dim)
    return torch.where(first_zero, at_zero, torch.where(zeros_so_far == 0, before, 0))


def logcumsumexp(input: Tensor, dim: int) -> Tensor:
    """y_i = ln(e^x_0 + ... + e^x_i) along `dim`, without overflow on the way."""
    return torch.logcumsumexp(input, dim)


def logcumsumexp_backward(grad: Tensor, input: Tensor, output: Tensor, dim: int) -> Tensor:
    """dL/dx_i = the sum over j >= i of dL/dy_j e^(x_i - y_j).

    By logarithms, positive and negative gradients apart, as e^x_i and e^-y_j alone may overflow.
    """
    if input.dim() == 0:
        return grad

    def of_part(part: Tensor) -> Tensor:
        logs = torch.where(part > 0, torch.log(part), torch.finfo(part.dtype).min) - output
        return torch.exp(torch.flip(torch.logcumsumexp(torch.flip(logs, (dim,)), dim), (dim,)) + input)

    return of_part(grad) - of_part(-grad)

"""Losses of the difference d = x - t between input and target, each beside its derivative.

All are even functions of d, so that dL/dt is dL/dx with x and t exchanged.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from modgrad.functional.kernel import direct, kernel
from modgrad.functional.loss.reduction import REDUCTIONS, grad_of_terms, reduced

__all__ = [
    "huber_loss",
    "huber_loss_backward",
    "l1_loss",
    "l1_loss_backward",
    "mse_loss",
    "mse_loss_backward",
    "smooth_l1_loss",
    "smooth_l1_loss_backward",
]

aten = torch.ops.aten

_mse_loss: Any = torch._C._nn.mse_loss
_mse_loss_backward = direct(aten.mse_loss_backward.default)
_smooth_l1_loss = direct(aten.smooth_l1_loss.default)
_smooth_l1_loss_backward = direct(aten.smooth_l1_loss_backward.default)
_huber_loss = direct(aten.huber_loss.default)
_huber_loss_backward = direct(aten.huber_loss_backward.default)


def l1_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """L = |d|, all of them ("none"), their mean or their sum.   input, target: alike."""
    return reduced(torch.abs(input - target), reduction)


def l1_loss_backward(grad: Tensor, input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """dL/dx = sign(d) dL/dy, 0 at d = 0, by the number of values for the mean."""
    return torch.sign(input - target) * grad_of_terms(grad, input, reduction)


@kernel(lambda input, target, reduction="mean": _mse_loss(input, target, REDUCTIONS[reduction]))
def mse_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """L = d^2, all of them ("none"), their mean or their sum.   input, target: alike."""
    return reduced((input - target) ** 2, reduction)


@kernel(lambda grad, input, target, reduction="mean": _mse_loss_backward(grad, input, target, REDUCTIONS[reduction]))
def mse_loss_backward(grad: Tensor, input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """dL/dx = 2 d dL/dy, by the number of values for the mean."""
    return 2 * (input - target) * grad_of_terms(grad, input, reduction)


def _smooth_l1_kernel(input: Tensor, target: Tensor, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    if beta == 0:
        return l1_loss(input, target, reduction)
    return _smooth_l1_loss(input, target, REDUCTIONS[reduction], beta)


@kernel(_smooth_l1_kernel)
def smooth_l1_loss(input: Tensor, target: Tensor, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """L = d^2 / (2 beta) where |d| < beta, |d| - beta / 2 elsewhere; beta = 0: |d|.   Girshick 2015, eq. 3."""
    if beta == 0:
        return l1_loss(input, target, reduction)
    size = torch.abs(input - target)
    return reduced(torch.where(size < beta, size**2 / (2 * beta), size - beta / 2), reduction)


def _smooth_l1_backward_kernel(
    grad: Tensor, input: Tensor, target: Tensor, reduction: str = "mean", beta: float = 1.0
) -> Tensor:
    if beta == 0:
        return l1_loss_backward(grad, input, target, reduction)
    return _smooth_l1_loss_backward(grad, input, target, REDUCTIONS[reduction], beta)


@kernel(_smooth_l1_backward_kernel)
def smooth_l1_loss_backward(
    grad: Tensor, input: Tensor, target: Tensor, reduction: str = "mean", beta: float = 1.0
) -> Tensor:
    """dL/dx = d / beta, held within -1 and 1, times dL/dy; beta = 0: that of |d|."""
    if beta == 0:
        return l1_loss_backward(grad, input, target, reduction)
    return torch.clamp((input - target) / beta, -1, 1) * grad_of_terms(grad, input, reduction)


@kernel(lambda input, target, reduction="mean", delta=1.0: _huber_loss(input, target, REDUCTIONS[reduction], delta))
def huber_loss(input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """L = d^2 / 2 where |d| < delta, delta (|d| - delta / 2) elsewhere.   Huber 1964, section 2."""
    size = torch.abs(input - target)
    return reduced(torch.where(size < delta, size**2 / 2, delta * (size - delta / 2)), reduction)


@kernel(
    lambda grad, input, target, reduction="mean", delta=1.0: _huber_loss_backward(
        grad, input, target, REDUCTIONS[reduction], delta
    )
)
def huber_loss_backward(
    grad: Tensor, input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0
) -> Tensor:
    """dL/dx = d, held within -delta and delta, times dL/dy."""
    return torch.clamp(input - target, -delta, delta) * grad_of_terms(grad, input, reduction)

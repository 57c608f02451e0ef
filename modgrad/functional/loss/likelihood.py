"""Losses that are a negative log-likelihood, or a divergence, of a distribution; each beside its derivatives."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from modgrad.functional.loss.reduction import grad_of_terms, reduced

__all__ = [
    "gaussian_nll_loss",
    "gaussian_nll_loss_grad_input",
    "gaussian_nll_loss_grad_var",
    "kl_div",
    "kl_div_grad_input",
    "kl_div_grad_target",
    "poisson_nll_loss",
    "poisson_nll_loss_grad_input",
    "poisson_nll_loss_grad_target",
]


def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    reduction: str = "mean",
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
) -> Tensor:
    """L = rate - t log(rate) + log(t!): rate = e^x, or, not log_input, rate = x and its logarithm log(x + eps).

    log(t!) is left out, as x has no part in it, or, if `full`, told by Stirling: t log t - t + log(2 pi t) / 2 where
    t > 1, and 0 elsewhere.   input, target: alike.
    """
    terms = torch.exp(input) - target * input if log_input else input - target * torch.log(input + eps)
    if full:
        stirling = target * torch.log(target) - target + 0.5 * torch.log(2 * math.pi * target)
        terms = terms + torch.where(target > 1, stirling, 0)
    return reduced(terms, reduction)


def poisson_nll_loss_grad_input(
    grad: Tensor, input: Tensor, target: Tensor, reduction: str = "mean", log_input: bool = True, eps: float = 1e-8
) -> Tensor:
    """dL/dx = (e^x - t) dL/dy; not log_input: (1 - t / (x + eps)) dL/dy."""
    slope = torch.exp(input) - target if log_input else 1 - target / (input + eps)
    return slope * grad_of_terms(grad, input, reduction)


def poisson_nll_loss_grad_target(
    grad: Tensor,
    input: Tensor,
    target: Tensor,
    reduction: str = "mean",
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
) -> Tensor:
    """dL/dt = -log(rate) dL/dy; if `full`, with + log t + 1 / (2 t) where t > 1."""
    slope = -input if log_input else -torch.log(input + eps)
    if full:
        slope = slope + (torch.log(target) + 0.5 / target) * (target > 1)
    return slope * grad_of_terms(grad, input, reduction)


def gaussian_nll_loss(
    input: Tensor, target: Tensor, var: Tensor, reduction: str = "mean", full: bool = False, eps: float = 1e-6
) -> Tensor:
    """L = (log v + (x - t)^2 / v) / 2, with v = max(var, eps); `full` adds log(2 pi) / 2.   input, target, var: alike.

    Nix and Weigend 1994, eq. 3.
    """
    v = torch.clamp_min(var, eps)
    terms = 0.5 * (torch.log(v) + (input - target) ** 2 / v)
    return reduced(terms + 0.5 * math.log(2 * math.pi) if full else terms, reduction)


def gaussian_nll_loss_grad_input(
    grad: Tensor, input: Tensor, target: Tensor, var: Tensor, reduction: str = "mean", eps: float = 1e-6
) -> Tensor:
    """dL/dx = (x - t) / v dL/dy; dL/dt is that with x and t exchanged."""
    return (input - target) / torch.clamp_min(var, eps) * grad_of_terms(grad, input, reduction)


def gaussian_nll_loss_grad_var(
    grad: Tensor, input: Tensor, target: Tensor, var: Tensor, reduction: str = "mean", eps: float = 1e-6
) -> Tensor:
    """dL/dvar = (1 - (x - t)^2 / v) / (2 v) dL/dy.

    So too where var < eps, as if it were eps: a variance that is held there can grow again.
    """
    v = torch.clamp_min(var, eps)
    return (1 - (input - target) ** 2 / v) / (2 * v) * grad_of_terms(grad, input, reduction)


def kl_div(input: Tensor, target: Tensor, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """L = t (log t - x), 0 log 0 = 0: x a model's log-probabilities, t probabilities.

    log_target: t are logarithms too, L = e^t (t - x).   input, target: alike.   Kullback and Leibler 1951, eq. 2.4.

    Over a dimension of classes the terms' sum is the divergence of the model from the target: "batchmean".
    """
    terms = torch.exp(target) * (target - input) if log_target else torch.xlogy(target, target) - target * input
    return reduced(terms, reduction)


def kl_div_grad_input(grad: Tensor, target: Tensor, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """dL/dx = -t dL/dy, or -e^t dL/dy."""
    return -(torch.exp(target) if log_target else target) * grad_of_terms(grad, target, reduction)


def kl_div_grad_target(
    grad: Tensor, input: Tensor, target: Tensor, reduction: str = "mean", log_target: bool = False
) -> Tensor:
    """dL/dt = (log t + 1 - x) dL/dy, or e^t (t - x + 1) dL/dy; NaN at a probability of 0, where there is none."""
    slope = torch.exp(target) * (target - input + 1) if log_target else torch.log(target) + target / target - input
    return slope * grad_of_terms(grad, input, reduction)

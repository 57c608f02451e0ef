"""Losses of two classes, each beside its derivatives."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from modgrad.functional.kernel import direct, kernel
from modgrad.functional.loss.reduction import EPSILON, REDUCTIONS, grad_of_terms, reduced

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_grad_input",
    "binary_cross_entropy_grad_target",
    "binary_cross_entropy_with_logits",
    "binary_cross_entropy_with_logits_grad_input",
    "binary_cross_entropy_with_logits_grad_target",
    "multilabel_soft_margin_loss",
    "multilabel_soft_margin_loss_grad_input",
    "multilabel_soft_margin_loss_grad_target",
    "soft_margin_loss",
    "soft_margin_loss_backward",
]

aten = torch.ops.aten

_log_sigmoid: Any = torch._C._nn.log_sigmoid
_bce: Any = torch._C._nn.binary_cross_entropy
_bce_backward = direct(aten.binary_cross_entropy_backward.default)


@kernel(lambda input, target, weight=None, reduction="mean": _bce(input, target, weight, REDUCTIONS[reduction]))
def binary_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, reduction: str = "mean"
) -> Tensor:
    """L = -w (t log p + (1 - t) log(1 - p)), both logarithms at least -100.   input p, target t, weight w: alike."""
    terms = -(target * torch.log(input).clamp_min(-100) + (1 - target) * torch.log1p(-input).clamp_min(-100))
    return reduced(_weighted(terms, weight), reduction)


@kernel(
    lambda grad, input, target, weight=None, reduction="mean": _bce_backward(
        grad, input, target, weight, REDUCTIONS[reduction]
    )
)
def binary_cross_entropy_grad_input(
    grad: Tensor, input: Tensor, target: Tensor, weight: Tensor | None = None, reduction: str = "mean"
) -> Tensor:
    """dL/dp = w (p - t) / (p (1 - p)) dL/dy, the divisor at least 1e-12."""
    slope = (input - target) / (input * (1 - input)).clamp_min(EPSILON)
    return _weighted(slope, weight) * grad_of_terms(grad, input, reduction)


def binary_cross_entropy_grad_target(
    grad: Tensor, input: Tensor, weight: Tensor | None = None, reduction: str = "mean"
) -> Tensor:
    """dL/dt = w (log(1 - p) - log p) dL/dy: of the logarithms as they are, infinite at p = 0 and p = 1."""
    slope = torch.log1p(-input) - torch.log(input)
    return _weighted(slope, weight) * grad_of_terms(grad, input, reduction)


def _weighted(terms: Tensor, weight: Tensor | None) -> Tensor:
    return terms if weight is None else terms * weight


@kernel(
    lambda input, target, weight=None, pos_weight=None, reduction="mean": torch.binary_cross_entropy_with_logits(
        input, target, weight, pos_weight, REDUCTIONS[reduction]
    )
)
def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    pos_weight: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    """L = -w (q t log p + (1 - t) log(1 - p)), p = sigmoid(x), q = pos_weight.   input x, target, weight, q: alike.

    With log(1 - p) = log p - x this is w ((1 - t) x - (1 + (q - 1) t) log p), and log p = min(x, 0) - log(1 + e^-|x|)
    does not overflow.
    """
    log_p = _log_sigmoid(input)
    if pos_weight is not None:
        log_p = log_p * (1 + (pos_weight - 1) * target)
    return reduced(_weighted((1 - target) * input - log_p, weight), reduction)


def binary_cross_entropy_with_logits_grad_input(
    grad: Tensor,
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    pos_weight: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    """dL/dx = w ((q t + 1 - t) p - q t) dL/dy; without q: w (p - t) dL/dy."""
    slope = torch.sigmoid(input)
    if pos_weight is None:
        slope = slope - target
    else:
        positive = pos_weight * target
        slope = (positive + 1 - target) * slope - positive
    return _weighted(slope, weight) * grad_of_terms(grad, input, reduction)


def binary_cross_entropy_with_logits_grad_target(
    grad: Tensor,
    input: Tensor,
    weight: Tensor | None = None,
    pos_weight: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    """dL/dt = w (log(1 - p) - q log p) dL/dy; without q: -w x dL/dy."""
    slope = -input
    if pos_weight is not None:
        slope = _log_sigmoid(-input) - pos_weight * _log_sigmoid(input)
    return _weighted(slope, weight) * grad_of_terms(grad, input, reduction)


def multilabel_soft_margin_loss(
    input: Tensor, target: Tensor, weight: Tensor | None = None, reduction: str = "mean"
) -> Tensor:
    """L = -(1/C) sum over classes of w (t log p + (1 - t) log(1 - p)), p = sigmoid(x).

    input x, target t, weight w (..., C); a term (...) for each sample.
    """
    terms = -(target * _log_sigmoid(input) + (1 - target) * _log_sigmoid(-input))
    return reduced(_weighted(terms, weight).mean(-1), reduction)


def multilabel_soft_margin_loss_grad_input(
    grad: Tensor, input: Tensor, target: Tensor, weight: Tensor | None = None, reduction: str = "mean"
) -> Tensor:
    """dL/dx = (1/C) w (p - t) dL/dy."""
    grad = _of_class(grad, input, reduction)
    return binary_cross_entropy_with_logits_grad_input(grad, input, target, weight, None, "none")


def multilabel_soft_margin_loss_grad_target(
    grad: Tensor, input: Tensor, weight: Tensor | None = None, reduction: str = "mean"
) -> Tensor:
    """dL/dt = -(1/C) w x dL/dy."""
    grad = _of_class(grad, input, reduction)
    return binary_cross_entropy_with_logits_grad_target(grad, input, weight, None, "none")


def _of_class(grad: Tensor, input: Tensor, reduction: str) -> Tensor:
    """What each class of a sample gets, to go with (..., C)."""
    grad = grad_of_terms(grad, input[..., 0], reduction) / input.shape[-1]
    return grad.unsqueeze(-1) if reduction == "none" else grad


def soft_margin_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """L = log(1 + e^(-t x)), t = 1 or -1.   input, target: alike.

    Overflows where e^(-t x) does, in float32 for x t < -88; `binary_cross_entropy_with_logits` of (t + 1) / 2 does not.
    """
    return reduced(torch.log1p(torch.exp(-target * input)), reduction)


def soft_margin_loss_backward(grad: Tensor, input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """dL/dx = -t z / (1 + z) dL/dy, z = e^(-t x); dL/dt is that with x and t exchanged."""
    z = torch.exp(-target * input)
    return -target * z / (1 + z) * grad_of_terms(grad, input, reduction)

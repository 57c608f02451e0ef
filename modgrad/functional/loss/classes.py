"""Losses of class indices, or of a probability for each class: negative log likelihood and cross entropy."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from modgrad.functional.kernel import direct, kernel
from modgrad.functional.loss.reduction import REDUCTIONS

__all__ = [
    "cross_entropy",
    "cross_entropy_grad_input",
    "cross_entropy_grad_target",
    "is_probabilities",
    "nll_loss",
    "nll_loss_backward",
    "target_weights",
]

aten = torch.ops.aten


# Negative log likelihood of log-probabilities x (N, C, ...) for class indices y (N, ...), with w_c each class's weight,
# 0 where y is ignored, and D what the mean divides by:
#
#     L_n = -w_{y_n} x_{n, y_n},    D = sum_n w_{y_n},    dL_n/dx_{n, c} = -w_c where c = y_n.


def _at_target(
    input: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The classes (N, 1, ...), 0 in place of those ignored; w_y (N, ...), 0 for those; and whether each counts."""
    counted = target != ignore_index
    index = torch.where(counted, target, 0).long()
    of_class = input.new_ones(()) if weight is None else weight[index]
    return index.unsqueeze(1), torch.where(counted, of_class, 0), counted


_nll_loss_forward = direct(aten.nll_loss_forward.default)
_nll_loss2d_forward = direct(aten.nll_loss2d_forward.default)
_nll_loss_backward = direct(aten.nll_loss_backward.default)
_nll_loss2d_backward = direct(aten.nll_loss2d_backward.default)


def _nll_loss_kernel(
    input: Tensor, target: Tensor, weight: Tensor | None = None, ignore_index: int = -100, reduction: str = "mean"
) -> tuple[Tensor, Tensor]:
    if input.dim() == 2:
        return _nll_loss_forward(input, target, weight, REDUCTIONS[reduction], ignore_index)
    shape, target = target.shape, target.long()
    if input.dim() != 4:  # the kernel is for images: the further dimensions make one of one row
        input, target = input.flatten(2).unsqueeze(2), target.flatten(1).unsqueeze(1)
    loss, divisor = _nll_loss2d_forward(input, target, weight, REDUCTIONS[reduction], ignore_index)
    return (loss.reshape(shape) if reduction == "none" else loss), divisor


@kernel(_nll_loss_kernel)
def nll_loss(
    input: Tensor, target: Tensor, weight: Tensor | None = None, ignore_index: int = -100, reduction: str = "mean"
) -> tuple[Tensor, Tensor]:
    """L_n = -w_{y_n} x_{n, y_n}, all of them ("none"), their sum, or their sum divided by D = sum_n w_{y_n}.

    input (N, C, ...) log-probabilities, target (N, ...) class indices, weight (C). Returns L and D, of which only the
    mean makes use.
    """
    index, weights, counted = _at_target(input, target, weight, ignore_index)
    losses = torch.where(counted, -weights * input.gather(1, index).squeeze(1), 0)
    divisor = weights.expand(losses.shape).sum()
    if reduction == "none":
        return losses, divisor
    return (losses.sum() / divisor if reduction == "mean" else losses.sum()), divisor


def _nll_loss_backward_kernel(
    grad: Tensor,
    input_shape: torch.Size,
    target: Tensor,
    divisor: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    input = grad.new_empty(()).expand(input_shape)
    return _at_target_grad_kernel(grad, input, target, divisor, weight, ignore_index, reduction)


def _at_target_grad_kernel(
    grad: Tensor,
    input: Tensor,
    target: Tensor,
    divisor: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    reduction: str,
) -> Tensor:
    """ATen's kernels, which read of `input` only the shape."""
    shape = input.shape
    if len(shape) == 2:
        return _nll_loss_backward(grad, input, target, weight, REDUCTIONS[reduction], ignore_index, divisor)
    target = target.long()
    if len(shape) != 4:
        input, target = input.flatten(2).unsqueeze(2), target.flatten(1).unsqueeze(1)
        grad = grad.reshape(target.shape) if reduction == "none" else grad
    slope = _nll_loss2d_backward(grad, input, target, weight, REDUCTIONS[reduction], ignore_index, divisor)
    return slope.reshape(shape)


@kernel(_nll_loss_backward_kernel)
def nll_loss_backward(
    grad: Tensor,
    input_shape: torch.Size,
    target: Tensor,
    divisor: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """dL/dx_{n, c} = -(w_c / D) dL/dy where c = y_n, 0 elsewhere.   grad: the loss's shape; returns `input_shape`."""
    index, weights, counted = _at_target(grad, target, weight, ignore_index)
    upstream = grad / divisor if reduction == "mean" else grad
    slope = torch.where(counted, -weights * upstream, 0).unsqueeze(1)
    return grad.new_zeros(input_shape).scatter(1, index, slope)


# Cross entropy of class scores x (N, C, ...) against targets given as class indices (N, ...) or as probabilities
# (N, C, ...). Both are one formula: with T (N, C, ...) how much each class's -log p counts, and D what the mean
# divides by,
#
#     L = -(1/D) sum_c T_c log p_c,    p = softmax(x),    dL/dx_c = (1/D) (p_c sum_k T_k - T_c).


def target_weights(
    log_p: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, label_smoothing: float
) -> tuple[Tensor, Tensor]:
    """T (N, C, ...) and D (scalar).

    For indices: T is w_y at class y and nothing where y is ignored; D is the sum of the w_y.
    For probabilities t: T is w_c t_c; D is the number of positions.
    Label smoothing e mixes in the uniform distribution: (1 - e) t_c + e / C.   Szegedy et al. 2016, section 7.
    """
    classes, by_class = log_p.shape[1], _by_class(log_p, weight)
    if is_probabilities(log_p, target):
        smooth = target * (1 - label_smoothing) + label_smoothing / classes
        return smooth * by_class, log_p.new_ones(log_p.shape)[:, 0].sum()
    counted = (target != ignore_index).unsqueeze(1)
    index = torch.where(counted, target.unsqueeze(1), 0)
    one_hot = torch.zeros_like(log_p).scatter(1, index, 1.0)
    hard = one_hot * counted * by_class
    smooth = counted * by_class * (label_smoothing / classes)
    return hard * (1 - label_smoothing) + smooth, hard.sum()


def _by_class(log_p: Tensor, weight: Tensor | None) -> Tensor:
    """w_c, (1, C, 1, ...)."""
    shape = [1, log_p.shape[1]] + [1] * (log_p.dim() - 2)
    return log_p.new_ones(shape) if weight is None else weight.reshape(shape)


def is_probabilities(input: Tensor, target: Tensor) -> bool:
    """Whether the target gives a probability for each class, rather than the index of one."""
    return target.is_floating_point()


def _cross_entropy_kernel(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> tuple[Tensor, Tensor, Tensor]:
    if label_smoothing or is_probabilities(input, target):
        return NotImplemented
    log_p = torch.log_softmax(input, 1)
    loss, divisor = _nll_loss_kernel(log_p, target, weight, ignore_index, reduction)
    return loss, log_p, divisor


@kernel(_cross_entropy_kernel)
def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """L = -(1/D) sum_c T_c log p_c, p = softmax(x) over the classes; T and D: see `target_weights`.

    input (N, C, ...), target (N, ...) class indices or (N, C, ...) probabilities, weight (C).
    Returns L, log p (N, C, ...), and D, of which only the mean makes use.
    """
    log_p = torch.log_softmax(input, 1)
    if is_probabilities(input, target):
        weights, divisor = target_weights(log_p, target, weight, ignore_index, label_smoothing)
        losses = -(weights * log_p).sum(1)
    else:  # only the target's class is looked at, as others may have log p = -inf; of smoothed targets, all of them
        losses, divisor = nll_loss.formula(log_p, target, weight, ignore_index, "none")  # type: ignore[attr-defined]
        if label_smoothing:
            uniform = -(log_p * _by_class(log_p, weight)).mean(1)
            uniform = torch.where(target != ignore_index, uniform, 0)
            losses = (1 - label_smoothing) * losses + label_smoothing * uniform
    if reduction == "none":
        return losses, log_p, divisor
    return (losses.sum() / divisor if reduction == "mean" else losses.sum()), log_p, divisor


def _cross_entropy_grad_input_kernel(
    grad: Tensor,
    log_p: Tensor,
    target: Tensor,
    divisor: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    if label_smoothing or is_probabilities(log_p, target):
        grad_log_p = -_weights_by_upstream(
            grad, log_p, target, divisor, weight, ignore_index, reduction, label_smoothing
        )
    else:
        grad_log_p = _at_target_grad_kernel(grad, log_p, target, divisor, weight, ignore_index, reduction)
    return torch._log_softmax_backward_data(grad_log_p, log_p, 1, log_p.dtype)


@kernel(_cross_entropy_grad_input_kernel)
def cross_entropy_grad_input(
    grad: Tensor,
    log_p: Tensor,
    target: Tensor,
    divisor: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """dL/dx_c = (1/D) (p_c sum_k T_k - T_c) dL/dy.   grad: the loss's shape; returns (N, C, ...)."""
    weights = _weights_by_upstream(grad, log_p, target, divisor, weight, ignore_index, reduction, label_smoothing)
    return torch.exp(log_p) * weights.sum(1, keepdim=True) - weights


def _weights_by_upstream(
    grad: Tensor,
    log_p: Tensor,
    target: Tensor,
    divisor: Tensor,
    weight: Any,
    ignored: int,
    reduction: str,
    smoothing: float,
) -> Tensor:
    """T_c / D dL/dy."""
    weights, _ = target_weights(log_p, target, weight, ignored, smoothing)
    weights = weights * _for_each_class(grad, divisor, reduction)
    if is_probabilities(log_p, target):
        return weights
    return torch.where((target != ignored).unsqueeze(1), weights, 0)  # D may be 0 where nothing counts


def cross_entropy_grad_target(
    grad: Tensor,
    log_p: Tensor,
    divisor: Tensor,
    weight: Tensor | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """dL/dt_c = -(1/D) (1 - e) w_c log p_c dL/dy, for targets that are probabilities."""
    return -(1 - label_smoothing) * _by_class(log_p, weight) * log_p * _for_each_class(grad, divisor, reduction)


def _for_each_class(grad: Tensor, divisor: Tensor, reduction: str) -> Tensor:
    """The upstream gradient as it meets each -T log p."""
    if reduction == "none":
        return grad.unsqueeze(1)
    return grad / divisor if reduction == "mean" else grad

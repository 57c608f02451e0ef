"""Cross entropy, beside its derivatives; and the codes of reductions."""

from __future__ import annotations

import torch
from torch import Tensor

from modgrad.functional.kernel import direct, kernel

__all__ = [
    "REDUCTIONS",
    "cross_entropy",
    "cross_entropy_grad_input",
    "cross_entropy_grad_target",
    "is_probabilities",
    "target_weights",
]

aten = torch.ops.aten
REDUCTIONS = {"none": 0, "mean": 1, "sum": 2}  # name -> ATen's code


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
    classes = log_p.shape[1]
    each_class = [1, classes] + [1] * (log_p.dim() - 2)
    by_class = log_p.new_ones(each_class) if weight is None else weight.reshape(each_class)
    if is_probabilities(log_p, target):
        smooth = target * (1 - label_smoothing) + label_smoothing / classes
        return smooth * by_class, log_p.new_ones(log_p.shape)[:, 0].sum()
    counted = (target != ignore_index).unsqueeze(1)
    index = torch.where(counted, target.unsqueeze(1), 0)
    one_hot = torch.zeros_like(log_p).scatter(1, index, 1.0)
    hard = one_hot * counted * by_class
    smooth = counted * by_class * (label_smoothing / classes)
    return hard * (1 - label_smoothing) + smooth, hard.sum()


def is_probabilities(input: Tensor, target: Tensor) -> bool:
    """Whether the target gives a probability for each class, rather than the index of one."""
    return target.is_floating_point()


_nll_loss_forward = direct(aten.nll_loss_forward.default)
_nll_loss2d_forward = direct(aten.nll_loss2d_forward.default)
_nll_loss_backward = direct(aten.nll_loss_backward.default)
_nll_loss2d_backward = direct(aten.nll_loss2d_backward.default)


def _cross_entropy_kernel(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> tuple[Tensor, Tensor, Tensor]:
    dimensions = input.dim()
    if label_smoothing or dimensions not in (2, 4) or is_probabilities(input, target):
        formula = cross_entropy.formula  # type: ignore[attr-defined]
        return formula(input, target, weight, ignore_index, reduction, label_smoothing)
    log_p = torch.log_softmax(input, 1)
    forward = _nll_loss_forward if dimensions == 2 else _nll_loss2d_forward
    loss, divisor = forward(log_p, target, weight, REDUCTIONS[reduction], ignore_index)
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
    weights, divisor = target_weights(log_p, target, weight, ignore_index, label_smoothing)
    terms = weights * log_p
    if not is_probabilities(input, target):
        terms = torch.where(weights == 0, 0, terms)  # a class that is not looked at may have log p = -inf
    if reduction == "none":
        return -terms.sum(1), log_p, divisor
    return (-terms.sum() / divisor if reduction == "mean" else -terms.sum()), log_p, divisor


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
    dimensions = log_p.dim()
    if label_smoothing or dimensions not in (2, 4) or is_probabilities(log_p, target):
        formula = cross_entropy_grad_input.formula  # type: ignore[attr-defined]
        return formula(grad, log_p, target, divisor, weight, ignore_index, reduction, label_smoothing)
    backward = _nll_loss_backward if dimensions == 2 else _nll_loss2d_backward
    grad_log_p = backward(grad, log_p, target, weight, REDUCTIONS[reduction], ignore_index, divisor)
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
    weights, _ = target_weights(log_p, target, weight, ignore_index, label_smoothing)
    slope = torch.exp(log_p) * weights.sum(1, keepdim=True) - weights
    return slope * _for_each_class(grad, divisor, reduction)


def cross_entropy_grad_target(
    grad: Tensor,
    log_p: Tensor,
    divisor: Tensor,
    weight: Tensor | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """dL/dt_c = -(1/D) (1 - e) w_c log p_c dL/dy, for targets that are probabilities."""
    by_class = 1 if weight is None else weight.reshape([1, -1] + [1] * (log_p.dim() - 2))
    return -(1 - label_smoothing) * by_class * log_p * _for_each_class(grad, divisor, reduction)


def _for_each_class(grad: Tensor, divisor: Tensor, reduction: str) -> Tensor:
    """The upstream gradient as it meets each -T log p."""
    if reduction == "none":
        return grad.unsqueeze(1)
    return grad / divisor if reduction == "mean" else grad

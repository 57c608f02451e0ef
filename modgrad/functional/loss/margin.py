"""Losses that are zero from some margin on, each beside its derivatives.

max(z, 0) has slope 1 at z = 0 where PyTorch clamps, which is where z is one number for each term; in the sums over
classes of `multi_margin_loss` and `multilabel_margin_loss` it has slope 0 there, and a z that is NaN counts as 0.
"""

from __future__ import annotations

import torch
from torch import Tensor

from modgrad.functional.kernel import direct, kernel
from modgrad.functional.loss.reduction import EPSILON, REDUCTIONS, grad_of_terms, reduced

__all__ = [
    "cosine_embedding_loss",
    "cosine_embedding_loss_backward",
    "hinge_embedding_loss",
    "hinge_embedding_loss_backward",
    "margin_ranking_loss",
    "margin_ranking_loss_grad_input1",
    "margin_ranking_loss_grad_input2",
    "margin_ranking_loss_grad_target",
    "multi_margin_loss",
    "multi_margin_loss_backward",
    "multilabel_margin_loss",
    "multilabel_margin_loss_backward",
    "triplet_margin_loss",
    "triplet_margin_loss_grad_negative",
    "triplet_margin_loss_grad_positive",
    "triplet_margin_loss_grad_swapped",
]

aten = torch.ops.aten


def hinge_embedding_loss(input: Tensor, target: Tensor, reduction: str = "mean", margin: float = 1.0) -> Tensor:
    """L = x where t = 1, max(margin - x, 0) where t = -1; their sum for any other t.   input, target: alike."""
    near = torch.where(target != -1, input, 0)
    far = torch.where(target != 1, torch.clamp_min(margin - input, 0), 0)
    return reduced(near + far, reduction)


def hinge_embedding_loss_backward(
    grad: Tensor, input: Tensor, target: Tensor, reduction: str = "mean", margin: float = 1.0
) -> Tensor:
    """dL/dx = dL/dy where t = 1, -dL/dy where t = -1 and x <= margin."""
    grad = grad_of_terms(grad, input, reduction)
    within = margin - input >= 0
    return torch.where(target != -1, grad, 0) - torch.where((target != 1) & within, grad, 0)


def margin_ranking_loss(
    input1: Tensor, input2: Tensor, target: Tensor, reduction: str = "mean", margin: float = 0.0
) -> Tensor:
    """L = max(z, 0), z = margin - t (x1 - x2): t = 1 where x1 is to be the larger, -1 where x2.   All alike."""
    return reduced(torch.clamp_min(margin - target * (input1 - input2), 0), reduction)


def margin_ranking_loss_grad_input1(
    grad: Tensor, input1: Tensor, input2: Tensor, target: Tensor, reduction: str = "mean", margin: float = 0.0
) -> Tensor:
    """dL/dx1 = -t dL/dy where z >= 0."""
    within = margin - target * (input1 - input2) >= 0
    return -target * torch.where(within, grad_of_terms(grad, input1, reduction), 0)


def margin_ranking_loss_grad_input2(
    grad: Tensor, input1: Tensor, input2: Tensor, target: Tensor, reduction: str = "mean", margin: float = 0.0
) -> Tensor:
    """dL/dx2 = t dL/dy where z >= 0."""
    return -margin_ranking_loss_grad_input1(grad, input1, input2, target, reduction, margin)


def margin_ranking_loss_grad_target(
    grad: Tensor, input1: Tensor, input2: Tensor, target: Tensor, reduction: str = "mean", margin: float = 0.0
) -> Tensor:
    """dL/dt = -(x1 - x2) dL/dy where z >= 0."""
    difference = input1 - input2
    within = margin - target * difference >= 0
    return -difference * torch.where(within, grad_of_terms(grad, input1, reduction), 0)


def triplet_margin_loss(
    positive: Tensor, negative: Tensor, swapped: Tensor | None, reduction: str = "mean", margin: float = 1.0
) -> Tensor:
    """L = max(z, 0), z = margin + d(a, p) - d(a, n), of an anchor's distances to a positive and a negative example.

    positive: d(a, p); negative: d(a, n); swapped: d(p, n), which takes d(a, n)'s place where it is less. All alike.
    Balntas et al. 2016, eqs. 3 and 5.
    """
    return reduced(torch.clamp_min(_triplet_difference(positive, negative, swapped, margin), 0), reduction)


def triplet_margin_loss_grad_positive(
    grad: Tensor,
    positive: Tensor,
    negative: Tensor,
    swapped: Tensor | None,
    reduction: str = "mean",
    margin: float = 1.0,
) -> Tensor:
    """dL/dd(a, p) = dL/dy where z >= 0."""
    within = _triplet_difference(positive, negative, swapped, margin) >= 0
    return torch.where(within, grad_of_terms(grad, positive, reduction), 0)


def triplet_margin_loss_grad_negative(
    grad: Tensor,
    positive: Tensor,
    negative: Tensor,
    swapped: Tensor | None,
    reduction: str = "mean",
    margin: float = 1.0,
) -> Tensor:
    """dL/dd(a, n) = -dL/dy where z >= 0: nothing where d(p, n) is less, and half where that is as much."""
    slope = -triplet_margin_loss_grad_positive(grad, positive, negative, swapped, reduction, margin)
    if swapped is None:
        return slope
    return torch.where(negative > swapped, 0, torch.where(negative == swapped, slope / 2, slope))


def triplet_margin_loss_grad_swapped(
    grad: Tensor, positive: Tensor, negative: Tensor, swapped: Tensor, reduction: str = "mean", margin: float = 1.0
) -> Tensor:
    """dL/dd(p, n): that of d(a, n) with the two exchanged."""
    return triplet_margin_loss_grad_negative(grad, positive, swapped, negative, reduction, margin)


def _triplet_difference(positive: Tensor, negative: Tensor, swapped: Tensor | None, margin: float) -> Tensor:
    return margin + positive - (negative if swapped is None else torch.minimum(negative, swapped))


def cosine_embedding_loss(
    input1: Tensor, input2: Tensor, target: Tensor, reduction: str = "mean", margin: float = 0.0
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """L = 1 - c where t = 1, max(c - margin, 0) where t = -1, else 0; c the cosine of the angle between x1 and x2.

    c = x1 . x2 / sqrt(s1 s2), s = |x|^2 + 1e-12.   input1, input2 (..., D), target (...). Returns L, c, s1, s2.
    """
    s1, s2 = (input1 * input1).sum(-1) + EPSILON, (input2 * input2).sum(-1) + EPSILON
    cosine = (input1 * input2).sum(-1) / torch.sqrt(s1 * s2)
    terms = torch.where(target == 1, 1 - cosine, 0)
    terms = terms + torch.where(target == -1, torch.clamp_min(cosine - margin, 0), 0)
    return reduced(terms, reduction), cosine, s1, s2


def cosine_embedding_loss_backward(
    grad: Tensor,
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    cosine: Tensor,
    s1: Tensor,
    s2: Tensor,
    reduction: str = "mean",
    margin: float = 0.0,
) -> Tensor:
    """dL/dx1 = (x2 / sqrt(s1 s2) - c x1 / s1) dL/dc: dL/dc = -dL/dy where t = 1, dL/dy where t = -1 and c >= margin.

    dL/dx2 is that with 1 and 2 exchanged.
    """
    grad = grad_of_terms(grad, cosine, reduction)
    away = (target == -1) & (cosine - margin >= 0)
    slope = (torch.where(away, grad, 0) - torch.where(target == 1, grad, 0)).unsqueeze(-1)
    toward = input2 / torch.sqrt(s1 * s2).unsqueeze(-1)
    return slope * (toward - (cosine / s1).unsqueeze(-1) * input1)


_multi_margin_loss = direct(aten.multi_margin_loss.default)
_multi_margin_loss_backward = direct(aten.multi_margin_loss_backward.default)
_multilabel_margin_loss_forward = direct(aten.multilabel_margin_loss_forward.default)
_multilabel_margin_loss_backward = direct(aten.multilabel_margin_loss_backward.default)


def _kernel_takes(input: Tensor) -> bool:
    """The kernels know neither short floats nor an empty batch, of which they give back memory as they found it.

    Nor can they be traced with a free batch size: a tensor that is being traced is of another type.
    """
    return type(input) is Tensor and input.dtype in (torch.float32, torch.float64) and input.shape[0] > 0


def _multi_margin_loss_kernel(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: str = "mean",
    p: int = 1,
    margin: float = 1.0,
) -> Tensor:
    if not _kernel_takes(input):
        return NotImplemented
    return _multi_margin_loss(input, target, p, margin, weight, REDUCTIONS[reduction])


@kernel(_multi_margin_loss_kernel)
def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: str = "mean",
    p: int = 1,
    margin: float = 1.0,
) -> Tensor:
    """L = (1/C) sum_j w_t max(z_j, 0)^p over the classes j other than t, z_j = margin - x_t + x_j.

    input (N, C), target (N) classes t, weight (C), p 1 or 2; a term for each sample.   Crammer and Singer 2001, eq. 4.
    """
    z = torch.where(_is_class(target, input), 0, margin - input.gather(1, target.unsqueeze(1)) + input)
    terms = torch.where(z > 0, z**p, 0)
    if weight is not None:
        terms = terms * weight[target].unsqueeze(1)
    return reduced(terms.mean(1), reduction)


def _multi_margin_loss_backward_kernel(
    grad: Tensor,
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: str = "mean",
    p: int = 1,
    margin: float = 1.0,
) -> Tensor:
    if not _kernel_takes(input):
        return NotImplemented
    return _multi_margin_loss_backward(grad, input, target, p, margin, weight, REDUCTIONS[reduction])


@kernel(_multi_margin_loss_backward_kernel)
def multi_margin_loss_backward(
    grad: Tensor,
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: str = "mean",
    p: int = 1,
    margin: float = 1.0,
) -> Tensor:
    """dL/dx_j = (1/C) w_t p z_j^(p-1) dL/dy where z_j > 0; x_t gets the negative of their sum."""
    is_target = _is_class(target, input)
    z = margin - input.gather(1, target.unsqueeze(1)) + input
    slope = torch.where((z > 0) & ~is_target, p * z ** (p - 1), 0)
    if weight is not None:
        slope = slope * weight[target].unsqueeze(1)
    slope = torch.where(is_target, -slope.sum(1, keepdim=True), slope)
    return slope / input.shape[1] * _of_sample(grad, target, reduction)


def _is_class(target: Tensor, input: Tensor) -> Tensor:
    """(N, C): True at each sample's target."""
    return torch.arange(input.shape[1], device=input.device) == target.unsqueeze(1)


def _of_sample(grad: Tensor, samples: Tensor, reduction: str) -> Tensor:
    """What the terms of one sample get, to go with (N, C)."""
    grad = grad_of_terms(grad, samples, reduction)
    return grad.unsqueeze(1) if reduction == "none" else grad


def _multilabel_margin_loss_kernel(input: Tensor, target: Tensor, reduction: str = "mean") -> tuple[Tensor, Tensor]:
    if not _kernel_takes(input):
        return NotImplemented
    return _multilabel_margin_loss_forward(input, target, REDUCTIONS[reduction])


@kernel(_multilabel_margin_loss_kernel)
def multilabel_margin_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> tuple[Tensor, Tensor]:
    """L = (1/C) sum_kj max(z_kj, 0), z_kj = 1 - x_(t_k) + x_j, over the targets t_k and the classes j that are none.

    input (N, C), target (N, C): each row the classes that are right, closed by -1; what follows is not looked at.
    Returns L, a term for each sample, and whether a class is a target (N, C), 1 or 0.
    """
    listed, classes = _listed(target)
    is_target = torch.zeros_like(input).scatter_add(1, classes, listed.to(input.dtype)).clamp_max(1)
    z = _label_margins(input, listed, classes, is_target)
    return reduced(torch.where(z > 0, z, 0).sum((1, 2)) / input.shape[1], reduction), is_target


def _multilabel_margin_loss_backward_kernel(
    grad: Tensor, input: Tensor, target: Tensor, is_target: Tensor, reduction: str = "mean"
) -> Tensor:
    if not _kernel_takes(input):
        return NotImplemented
    return _multilabel_margin_loss_backward(grad, input, target, REDUCTIONS[reduction], is_target)


@kernel(_multilabel_margin_loss_backward_kernel)
def multilabel_margin_loss_backward(
    grad: Tensor, input: Tensor, target: Tensor, is_target: Tensor, reduction: str = "mean"
) -> Tensor:
    """dL/dx: each z_kj > 0 gives dL/dy / C to x_j and -dL/dy / C to x_(t_k)."""
    listed, classes = _listed(target)
    counted = (_label_margins(input, listed, classes, is_target) > 0).to(input.dtype)
    slope = counted.sum(1).scatter_add(1, classes, -counted.sum(2))
    return slope / input.shape[1] * _of_sample(grad, input[:, 0], reduction)


def _listed(target: Tensor) -> tuple[Tensor, Tensor]:
    """Which places come before the first -1; and the class at each, 0 where there is none."""
    listed = (target == -1).cumsum(1) == 0
    return listed, torch.where(listed, target, 0)


def _label_margins(input: Tensor, listed: Tensor, classes: Tensor, is_target: Tensor) -> Tensor:
    """z (N, C places in the list, C classes), 0 where a pair does not count."""
    z = 1 - input.gather(1, classes).unsqueeze(2) + input.unsqueeze(1)
    return torch.where(listed.unsqueeze(2) & (is_target == 0).unsqueeze(1), z, 0)

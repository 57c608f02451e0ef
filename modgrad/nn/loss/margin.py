"""Losses that are zero from some margin on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from modgrad import functional
from modgrad.graph import Module
from modgrad.graph.errors import describe
from modgrad.nn.broadcasting import forms, restored
from modgrad.nn.distance import PairwiseDistance
from modgrad.nn.loss.base import Loss, checked_reduction, weight_buffer
from modgrad.nn.loss.termwise import TermwiseLoss

__all__ = [
    "CosineEmbeddingLoss",
    "HingeEmbeddingLoss",
    "MarginRankingLoss",
    "MultiLabelMarginLoss",
    "MultiMarginLoss",
    "TripletMarginLoss",
    "TripletMarginWithDistanceLoss",
]


class HingeEmbeddingLoss(TermwiseLoss):
    """L = mean of x where t = 1, of max(margin - x, 0) where t = -1.   input, target: shapes that broadcast.

    The target has no gradient.
    """

    autocast = "hinge_embedding_loss"
    function = staticmethod(functional.hinge_embedding_loss)
    derivatives: ClassVar = {"input": functional.hinge_embedding_loss_backward}
    alike = False

    def __init__(
        self, margin: float = 1.0, size_average: None = None, reduce: None = None, reduction: str = "mean"
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin


class MarginRankingLoss(TermwiseLoss):
    """L = mean of max(0, margin - t (x1 - x2)): t = 1 where x1 is to be the larger, -1 where x2.

    input1, input2, target: as many dimensions, that broadcast.
    """

    autocast = "margin_ranking_loss"
    function = staticmethod(functional.margin_ranking_loss)
    derivatives: ClassVar = {
        "input1": functional.margin_ranking_loss_grad_input1,
        "input2": functional.margin_ranking_loss_grad_input2,
        "target": functional.margin_ranking_loss_grad_target,
    }
    alike = False

    def __init__(
        self, margin: float = 0.0, size_average: None = None, reduce: None = None, reduction: str = "mean"
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, call: Any, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:  # type: ignore[override]
        return self._loss(call, input1, input2, target)

    def _in_one_form(self, inputs: Sequence[Any], weights: Sequence[Any]) -> list[Any]:
        if len({x.dim() for x in inputs}) > 1:
            raise ValueError(
                f"{self}: {self._given(inputs)}; they must have as many dimensions, or each pair would be compared "
                "with others' targets"
            )
        return super()._in_one_form(inputs, weights)


class _TripletOfDistances(TermwiseLoss):
    """What is left of the triplet losses once the distances are known."""

    function = staticmethod(functional.triplet_margin_loss)
    derivatives: ClassVar = {
        "positive": functional.triplet_margin_loss_grad_positive,
        "negative": functional.triplet_margin_loss_grad_negative,
        "swapped": functional.triplet_margin_loss_grad_swapped,
    }
    alike = False

    def __init__(self, margin: float, reduction: str) -> None:
        super().__init__(reduction=reduction)
        self.margin = margin

    def forward(self, call: Any, positive: Tensor, negative: Tensor, swapped: Any) -> Tensor:  # type: ignore[override]
        return self._loss(call, positive, negative, swapped)


class TripletMarginWithDistanceLoss(Module):
    """L = mean of max(0, margin + d(a, p) - d(a, n)): an anchor is to be nearer to the positive than to the negative.

    anchor, positive, negative: what distance_function takes, with as many dimensions.
    distance_function(x1, x2): a module, or any function of Variables, that gives a distance for each pair;
        `PairwiseDistance()` if None. swap: let d(p, n) take d(a, n)'s place where it is less.   Balntas et al. 2016.
    """

    def __init__(
        self,
        *,
        distance_function: Callable[[Any, Any], Any] | None = None,
        margin: float = 1.0,
        swap: bool = False,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        self.reduction = checked_reduction(type(self).__name__, None, None, reduction)
        self.distance_function = PairwiseDistance() if distance_function is None else distance_function
        self.margin, self.swap = _positive(self, margin), swap

    def forward(self, anchor: Any, positive: Any, negative: Any) -> Any:
        return _triplet(self, self.distance_function, anchor, positive, negative)


class TripletMarginLoss(Module):
    """L = mean of max(0, margin + d(a, p) - d(a, n)), d(x1, x2) = |x1 - x2 + eps|_p over the last dimension.

    anchor, positive, negative (..., D): as many dimensions, that broadcast.
    swap: let d(p, n) take d(a, n)'s place where it is less.   Balntas et al. 2016, section 3.
    """

    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-6,
        swap: bool = False,
        size_average: None = None,
        reduce: None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        self.reduction = checked_reduction(type(self).__name__, size_average, reduce, reduction)
        self.margin, self.p, self.eps, self.swap = _positive(self, margin), p, eps, swap

    def forward(self, anchor: Any, positive: Any, negative: Any) -> Any:
        distance = PairwiseDistance(self.p, self.eps)
        distance.autocast = "triplet_margin_loss"  # which it is a part of, and runs as
        return _triplet(self, distance, anchor, positive, negative)


def _positive(owner: Module, margin: float) -> float:
    if margin <= 0:
        raise ValueError(f"{type(owner).__name__}(margin={margin}): expected a number above 0")
    return margin


def _triplet(owner: Any, distance: Callable[[Any, Any], Any], anchor: Any, positive: Any, negative: Any) -> Any:
    if not anchor.dim() == positive.dim() == negative.dim():
        given = f"anchor is {describe(anchor)}, positive is {describe(positive)}, negative is {describe(negative)}"
        raise ValueError(f"{owner}: {given}; they must have as many dimensions")
    swapped = distance(positive, negative) if owner.swap else None
    loss = _TripletOfDistances(owner.margin, owner.reduction)
    return loss(distance(anchor, positive), distance(anchor, negative), swapped)


class CosineEmbeddingLoss(Loss):
    """L = mean of 1 - c where t = 1, of max(c - margin, 0) where t = -1; c the cosine of the angle between x1 and x2.

    input1, input2 (N, D), target (N); or (D), (D) and a scalar. N may be 1 for what all share. The target has no
    gradient.
    """

    autocast = "cosine_embedding_loss"

    def __init__(
        self, margin: float = 0.0, size_average: None = None, reduce: None = None, reduction: str = "mean"
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, call: Any, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        try:
            dtype = torch.result_type(input1, input2)
            if target.dim() > 1 or not input1.dim() == input2.dim() == target.dim() + 1 or not dtype.is_floating_point:
                raise ValueError("their dimensions or dtypes do not belong together")
            shape = torch.broadcast_shapes(input1.shape, input2.shape, (*target.shape, 1))
        except (AttributeError, RuntimeError, ValueError) as error:
            raise ValueError(
                f"{self}: input1 is {describe(input1)}, input2 is {describe(input2)}, target is {describe(target)}; "
                "expected floating-point (N, D), (N, D) and (N), or (D), (D) and a scalar"
            ) from error
        call.forms = forms((input1, input2))
        input1, input2 = input1.expand(shape).to(dtype), input2.expand(shape).to(dtype)
        loss, *measures = functional.cosine_embedding_loss(input1, input2, target, self.reduction, self.margin)
        call.save(input1, input2, target, *measures)
        return loss

    def backward(self, call: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        input1, input2, target, cosine, s1, s2 = call.saved
        derivative = functional.cosine_embedding_loss_backward
        how = self.reduction, self.margin
        gradients = (
            derivative(grad, input1, input2, target, cosine, s1, s2, *how) if call.wants(0) else None,
            derivative(grad, input2, input1, target, cosine, s2, s1, *how) if call.wants(1) else None,
        )
        return *restored(gradients, call.forms), None


class _OfScores(Loss):
    """A margin loss of the scores of classes, of one sample or many; each sample's are one row of (N, C)."""

    def _refuse(self, input: Tensor, target: Tensor, wanted: str) -> None:
        raise ValueError(f"{self}: input is {describe(input)}, target is {describe(target)}; expected {wanted}")

    def _check_dtypes(self, input: Tensor, target: Tensor) -> None:
        if target.dtype != torch.int64:
            raise TypeError(f"{self}: target is {describe(target)}: classes are int64, write target.long()")
        if not input.is_floating_point():
            raise TypeError(f"{self}: input is {describe(input)}: scores are floating-point, write input.float()")

    def _explained(self, target: Tensor, classes: int, lowest: int) -> Exception | None:
        wrong = (target < lowest) | (target >= classes)
        if not wrong.any():
            return None
        closing = ", and -1 after the last of them" * (lowest < 0)
        return IndexError(
            f"{self}: class {int(target[wrong][0])} is out of bounds: input has classes 0 to {classes - 1}{closing}"
        )


class MultiMarginLoss(_OfScores):
    """L = mean over samples of (1/C) sum_j w_t max(0, margin - x_t + x_j)^p over the classes j other than t.

    input (N, C), target (N) classes; or (C) and a scalar. p: 1 or 2. weight (C).
    """

    autocast = "multi_margin_loss"
    weight: Tensor | None

    def __init__(
        self,
        p: int = 1,
        margin: float = 1.0,
        weight: Tensor | None = None,
        size_average: None = None,
        reduce: None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        if p not in (1, 2):
            raise ValueError(f"MultiMarginLoss(p={p}): expected 1 or 2")
        if weight is not None and weight.dim() != 1:
            raise ValueError(f"MultiMarginLoss: weight is {describe(weight)}; expected (C), one for each class")
        self.p, self.margin = p, margin
        self.weight = weight_buffer(self, "weight", weight)

    def forward(self, call: Any, input: Tensor, target: Tensor) -> Tensor:
        samples = input if input.dim() == 2 else input.reshape(1, -1)
        fits = target.shape == input.shape[:1] if input.dim() == 2 else input.dim() < 2 and target.shape in ((), (1,))
        if not fits or samples.shape[1] == 0:
            self._refuse(input, target, "(N, C) scores and (N) classes, or (C) and a scalar")
        self._check_dtypes(input, target)
        weight = self.weight
        if weight is not None and weight.shape != samples.shape[1:]:
            raise ValueError(
                f"{self}: weight is {describe(weight)}, input is {describe(input)}; expected (C) and (N, C)"
            )
        weight = weight if weight is None else weight.to(input.dtype)
        classes = target.reshape(samples.shape[:1])
        call.save(samples, classes, weight)
        call.shape = input.shape
        try:
            loss = functional.multi_margin_loss(samples, classes, weight, self.reduction, self.p, self.margin)
        except (IndexError, RuntimeError) as error:
            raise self._explained(target, samples.shape[1], 0) or error from error
        return loss.reshape(target.shape) if self.reduction == "none" else loss

    def backward(self, call: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        samples, classes, weight = call.saved
        grad = grad.reshape(classes.shape) if self.reduction == "none" else grad
        how = self.reduction, self.p, self.margin
        return functional.multi_margin_loss_backward(grad, samples, classes, weight, *how).reshape(call.shape), None


class MultiLabelMarginLoss(_OfScores):
    """L = mean over samples of (1/C) sum max(0, 1 - x_t + x_j), over the right classes t and the others j.

    input (N, C), target (N, C): each row the right classes, closed by -1 if they are fewer than C; or (C) and (C).
    """

    autocast = "multilabel_margin_loss"

    def forward(self, call: Any, input: Tensor, target: Tensor) -> Tensor:
        if input.shape != target.shape or input.dim() > 2 or input.shape[-1:] == (0,):
            self._refuse(input, target, "(N, C) scores and (N, C) classes, or (C) and (C)")
        self._check_dtypes(input, target)
        rows = input.shape if input.dim() == 2 else (1, input.numel())
        samples, classes = input.reshape(rows), target.reshape(rows)
        try:
            loss, is_target = functional.multilabel_margin_loss(samples, classes, self.reduction)
        except (IndexError, RuntimeError) as error:
            raise self._explained(target, samples.shape[1], -1) or error from error
        call.save(samples, classes, is_target)
        call.shape = input.shape
        return loss.reshape(input.shape[:-1]) if self.reduction == "none" else loss

    def backward(self, call: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        samples, classes, is_target = call.saved
        grad = grad.reshape(samples.shape[:1]) if self.reduction == "none" else grad
        gradient = functional.multilabel_margin_loss_backward(grad, samples, classes, is_target, self.reduction)
        return gradient.reshape(call.shape), None

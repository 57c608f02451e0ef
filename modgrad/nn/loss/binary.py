"""Losses of two classes, for each value by itself."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from modgrad import functional
from modgrad.graph.errors import describe
from modgrad.nn.loss.base import weight_buffer
from modgrad.nn.loss.termwise import TermwiseLoss, exchanged

__all__ = ["BCELoss", "BCEWithLogitsLoss", "MultiLabelSoftMarginLoss", "SoftMarginLoss"]


class BCELoss(TermwiseLoss):
    """L = mean of -w (t log p + (1 - t) log(1 - p)), both logarithms at least -100.

    input p, target t: the same shape, from 0 to 1. weight: w, of a shape that broadcasts to the input's.
    The target's gradient is that of the logarithms as they are: infinite at p = 0 and p = 1.
    """

    autocast = "binary_cross_entropy"
    function = staticmethod(functional.binary_cross_entropy)
    derivatives: ClassVar = {
        "input": functional.binary_cross_entropy_grad_input,
        "target": functional.binary_cross_entropy_grad_target,
    }
    weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: None = None,
        reduce: None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.weight = weight_buffer(self, "weight", weight)

    def forward(self, call: Any, input: Tensor, target: Tensor) -> Tensor:
        try:
            return super().forward(call, input, target)
        except RuntimeError as error:
            raise self._explained(input, target) or error from error

    def _explained(self, input: Tensor, target: Tensor) -> Exception | None:
        for name, x in (("input", input), ("target", target)):
            wrong = ~((x >= 0) & (x <= 1))
            if wrong.any():
                return ValueError(
                    f"{self}: {name} is {describe(x)} with {float(x[wrong][0])} in it: expected probabilities, from 0 "
                    "to 1. Apply nn.Sigmoid first, or, better, use nn.BCEWithLogitsLoss"
                )
        return None


class BCEWithLogitsLoss(TermwiseLoss):
    """L = mean of -w (q t log p + (1 - t) log(1 - p)), p = sigmoid(x).   input x, target t: the same shape.

    The sigmoid is not computed by itself, so that no logarithm overflows, however large x.
    weight: w; pos_weight: q, how much positive examples count; of shapes that broadcast to the input's.
    """

    autocast = "binary_cross_entropy_with_logits"
    function = staticmethod(functional.binary_cross_entropy_with_logits)
    derivatives: ClassVar = {
        "input": functional.binary_cross_entropy_with_logits_grad_input,
        "target": functional.binary_cross_entropy_with_logits_grad_target,
    }
    weight: Tensor | None
    pos_weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: None = None,
        reduce: None = None,
        reduction: str = "mean",
        pos_weight: Tensor | None = None,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.weight = weight_buffer(self, "weight", weight)
        self.pos_weight = weight_buffer(self, "pos_weight", pos_weight)


class SoftMarginLoss(TermwiseLoss):
    """L = mean of log(1 + e^(-t x)), t = 1 or -1.   input, target: shapes that broadcast."""

    autocast = "soft_margin_loss"
    function = staticmethod(functional.soft_margin_loss)
    derivatives: ClassVar = {
        "input": functional.soft_margin_loss_backward,
        "target": exchanged(functional.soft_margin_loss_backward),
    }
    alike = False


class MultiLabelSoftMarginLoss(TermwiseLoss):
    """L = mean over samples of the mean over classes of -w (t log p + (1 - t) log(1 - p)), p = sigmoid(x).

    input x, target t (..., C): shapes that broadcast. weight w (C). With reduction="none" a value for each sample.
    """

    autocast = "multilabel_soft_margin_loss"
    function = staticmethod(functional.multilabel_soft_margin_loss)
    derivatives: ClassVar = {
        "input": functional.multilabel_soft_margin_loss_grad_input,
        "target": functional.multilabel_soft_margin_loss_grad_target,
    }
    alike = False
    weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: None = None,
        reduce: None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.weight = weight_buffer(self, "weight", weight)

    def forward(self, call: Any, input: Tensor, target: Tensor) -> Tensor:
        if input.dim() == 0:
            raise ValueError(f"{self}: input is {describe(input)}; expected (..., C), a score for each class")
        return self._loss(call, input, target)

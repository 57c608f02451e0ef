"""Losses of class indices, or of a probability for each class."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from modgrad import functional
from modgrad.graph.errors import describe
from modgrad.nn.loss.base import Loss, weight_buffer

__all__ = ["CrossEntropyLoss", "NLLLoss", "NLLLoss2d"]


class OfClasses(Loss):
    """What losses of class indices share: a weight for each class, and an index that is ignored."""

    weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: None = None,
        ignore_index: int = -100,
        reduce: None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.weight = weight_buffer(self, "weight", weight)
        self.ignore_index = ignore_index

    def _explained(self, input: Tensor, target: Tensor) -> Exception | None:
        """What is wrong with arguments of the right shapes, that torch's functions refused."""
        classes = input.shape[1]
        if self.weight is not None and (self.weight.shape != (classes,) or self.weight.dtype != input.dtype):
            return ValueError(
                f"{self}: weight is {describe(self.weight)}, expected a number for each of {classes} classes, in "
                f"{input.dtype}"
            )
        wrong = (target != self.ignore_index) & ((target < 0) | (target >= classes))
        if target.is_floating_point() or not wrong.any():
            return None
        return IndexError(
            f"{self}: class {int(target[wrong][0])} is out of bounds: input is {describe(input)}, so that classes are "
            f"0 to {classes - 1}, and {self.ignore_index} (ignore_index) for none"
        )

    def _refuse_indices(self, input: Tensor, target: Tensor) -> None:
        """Raise unless the target has a class index for each place of the input."""
        shape = input.shape
        if target.shape != shape and target.dtype not in (torch.int64, torch.uint8):
            raise ValueError(f"{self}: class indices are int64, target is {describe(target)}: write target.long()")
        if input.dim() and target.shape == shape[:1] * (input.dim() > 1) + shape[2:]:
            return
        wanted = f"class indices must have shape {tuple(shape[:1] * (input.dim() > 1) + shape[2:])}"
        if target.shape == shape:
            wanted = self._instead_of_one_hot
        self._refuse(input, target, wanted)

    _instead_of_one_hot = "a one-hot target must be written as class indices: target.argmax(1)"

    def _refuse(self, input: Tensor, target: Tensor, wanted: str) -> None:
        raise ValueError(f"{self}: input is {describe(input)}, target is {describe(target)}; {wanted}")


class NLLLoss(OfClasses):
    """L = mean over samples of -w_t x_t, divided by the sum of the w_t: the negative log likelihood.

    input (N, C), (N, C, d1, ...) or (C): log-probabilities, as LogSoftmax(1) gives. target: class indices, without the
    dimension of classes, in 0..C-1 or `ignore_index`. weight (C): of each class.
    """

    autocast = "nll_loss"

    def forward(self, call: Any, input: Tensor, target: Tensor) -> Tensor:
        if target.is_floating_point():
            self._refuse(input, target, "class indices are int64; probabilities are for CrossEntropyLoss")
        self._refuse_indices(input, target)
        call.single = input.dim() == 1  # one sample, without the dimension of samples
        if call.single:
            input, target = input.unsqueeze(0), target.unsqueeze(0)
        try:
            loss, divisor = functional.nll_loss(input, target, self.weight, self.ignore_index, self.reduction)
        except (IndexError, RuntimeError) as error:
            raise self._explained(input, target) or error from error
        call.save(target, divisor, self.weight)
        call.shape = input.shape
        return loss.squeeze(0) if call.single and self.reduction == "none" else loss

    def backward(self, call: Any, grad: Tensor) -> tuple[Tensor, None]:
        target, divisor, weight = call.saved
        if call.single and self.reduction == "none":
            grad = grad.unsqueeze(0)
        grad_input = functional.nll_loss_backward(
            grad, call.shape, target, divisor, weight, self.ignore_index, self.reduction
        )
        return grad_input.squeeze(0) if call.single else grad_input, None


class NLLLoss2d(NLLLoss):
    """The old name of NLLLoss, for images (N, C, H, W)."""


class CrossEntropyLoss(OfClasses):
    """L = mean over samples of -log softmax(x)[t].

    input (N, C), (N, C, d1, ...) or (C): scores. target: class indices, without the dimension of classes, in 0..C-1
    or `ignore_index`; or probabilities of the input's shape and dtype, a one-hot encoding among them.
    weight (C): of each class. label_smoothing: in [0, 1].
    """

    autocast = "cross_entropy_loss"
    weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: None = None,
        ignore_index: int = -100,
        reduce: None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(weight, size_average, ignore_index, reduce, reduction)
        if not 0.0 <= label_smoothing <= 1.0:
            raise ValueError(f"CrossEntropyLoss(label_smoothing={label_smoothing}): expected a number from 0 to 1")
        self.label_smoothing = label_smoothing

    def forward(self, call: Any, input: Tensor, target: Tensor) -> Tensor:
        if not (
            input.dim() == 2 and target.dim() == 1 and input.shape[0] == target.shape[0] and target.dtype is torch.int64
        ):
            self._refuse_mismatch(input, target)  # the common case is asked briefly above
        single = input.dim() == 1  # one sample, without the dimension of samples
        if single:
            input, target = input.unsqueeze(0), target.unsqueeze(0)
            call.single = True
        try:
            loss, log_p, divisor = functional.cross_entropy(
                input, target, self.weight, self.ignore_index, self.reduction, self.label_smoothing
            )
        except (IndexError, RuntimeError) as error:
            raise self._explained(input, target) or error from error
        call.save(log_p, target, divisor, self.weight)
        return loss.squeeze(0) if single and self.reduction == "none" else loss

    def backward(self, call: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        log_p, target, divisor, weight = call.saved
        single = getattr(call, "single", False)
        if single and self.reduction == "none":
            grad = grad.unsqueeze(0)
        grad_input = grad_target = None
        if call.wants(0):
            grad_input = functional.cross_entropy_grad_input(
                grad, log_p, target, divisor, weight, self.ignore_index, self.reduction, self.label_smoothing
            )
        if call.wants(1):
            grad_target = functional.cross_entropy_grad_target(
                grad, log_p, divisor, weight, self.reduction, self.label_smoothing
            )
        if single:
            grad_input, grad_target = (None if g is None else g.squeeze(0) for g in (grad_input, grad_target))
        return grad_input, grad_target

    def _refuse_mismatch(self, input: Tensor, target: Tensor) -> None:
        if not target.is_floating_point():
            self._refuse_indices(input, target)
            return
        if self.ignore_index >= 0:
            raise ValueError(f"{self}: ignore_index={self.ignore_index} names a class; probabilities name none")
        if target.shape != input.shape or target.dtype != input.dtype:
            self._refuse(input, target, f"probabilities must have the input's shape and {input.dtype}")

    _instead_of_one_hot = "a one-hot target must be floating-point: write target.to(input.dtype)"

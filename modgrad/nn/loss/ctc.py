"""The loss of labellings that are shorter than the sequence they belong to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from modgrad import functional
from modgrad.graph.errors import describe
from modgrad.graph.mode import mode
from modgrad.nn.loss.base import Loss

__all__ = ["CTCLoss"]

_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


class CTCLoss(Loss):
    """L = -log p(targets | log_probs), over all alignments: connectionist temporal classification.

    log_probs (T, N, C) or (T, C): log-probabilities, as LogSoftmax gives, in float32 or float64. targets: classes, none
    of them `blank`; (N, S), padded, or (sum of target_lengths) one after another; (S) without N. input_lengths,
    target_lengths: (N), tensors or tuples; () or of one number without N.
    The mean is that of L / target length. zero_infinity: 0 in place of the infinite L of a sequence that is too short
    for its targets, and of its gradient.

    The gradient is, as PyTorch's is, that of the scores whose log-softmax log_probs is. check.gradients tells the two
    apart, unless the log-softmax is part of what is checked.
    """

    autocast = "ctc_loss"

    def __init__(self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False) -> None:
        super().__init__(reduction=reduction)
        self.blank, self.zero_infinity = blank, zero_infinity

    def forward(self, call: Any, log_probs: Tensor, targets: Tensor, input_lengths: Any, target_lengths: Any) -> Tensor:
        if targets.dtype not in (torch.int64, torch.int32):  # those of PyTorch's kernels
            targets = self._integers(targets, "targets").long()
        call.single = log_probs.dim() == 2  # one sequence, without the dimension of sequences
        if call.single:
            log_probs = log_probs.unsqueeze(1)
        inputs, labels = self._lengths(input_lengths, "input_lengths"), self._lengths(target_lengths, "target_lengths")
        self._refuse_mismatch(log_probs, targets, inputs, labels)
        loss, losses, log_alpha = functional.ctc_loss(
            log_probs, targets, inputs, labels, self.blank, self.reduction, self.zero_infinity
        )
        call.lengths = inputs, labels
        call.save(log_probs, targets, losses, log_alpha)
        return loss.squeeze(0) if call.single and self.reduction == "none" else loss

    def backward(self, call: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        log_probs, targets, losses, log_alpha = call.saved
        if call.single and self.reduction == "none":
            grad = grad.unsqueeze(0)
        inputs, labels = call.lengths
        grad_input = functional.ctc_loss_backward(
            *(grad, log_probs, targets, inputs, labels, losses, log_alpha),
            *(self.blank, self.reduction, self.zero_infinity),
        )
        return grad_input.squeeze(1) if call.single else grad_input, None, None, None

    def _integers(self, values: Tensor, name: str) -> Tensor:
        if values.dtype not in _INTEGERS:
            raise TypeError(f"{self}: {name} must be integers, is {describe(values)}: write {name}.long()")
        return values

    def _lengths(self, lengths: Any, name: str) -> Any:
        """As numbers; as a tensor while a program is traced, in which they have no values."""
        if isinstance(lengths, int):
            lengths = [lengths]
        if isinstance(lengths, Tensor):
            lengths = self._integers(lengths, name).reshape(-1)
        elif not isinstance(lengths, Sequence) or not all(isinstance(n, int) for n in lengths):
            raise TypeError(f"{self}: {name} must be a tensor or a tuple of integers, is {describe(lengths)}")
        if mode.tracing:
            return torch.as_tensor(lengths)
        return lengths.tolist() if isinstance(lengths, Tensor) else list(lengths)

    def _refuse_mismatch(self, log_probs: Tensor, targets: Tensor, input_lengths: Any, target_lengths: Any) -> None:
        given = f"{self}: log_probs is {describe(log_probs)}, targets is {describe(targets)}"
        if log_probs.dim() != 3 or targets.dim() not in (1, 2):
            raise ValueError(f"{given}; expected (T, N, C) or (T, C), and (N, S) or (sum of target_lengths)")
        if log_probs.dtype not in (torch.float32, torch.float64):
            raise TypeError(f"{given}; its sums over paths are taken in float32 or float64: write log_probs.float()")
        steps, count, classes = log_probs.shape
        if not (steps and count and classes):
            raise ValueError(f"{given}; there must be at least one step, one sequence and one class")
        if not 0 <= self.blank < classes:
            raise ValueError(f"{given}; blank={self.blank} must be one of the classes 0 to {classes - 1}")
        if targets.dim() == 2 and targets.shape[0] != count:
            raise ValueError(f"{given}; expected targets for {count} sequences")
        for name, lengths in (("input_lengths", input_lengths), ("target_lengths", target_lengths)):
            if len(lengths) != count:
                raise ValueError(
                    f"{given}; {name} has {len(lengths)} numbers, expected one for each of {count} sequences"
                )
        if isinstance(input_lengths, Tensor):  # traced: the values are not known
            return
        if min(input_lengths) < 0 or max(input_lengths) > steps:
            raise ValueError(f"{given}; input_lengths={input_lengths}: expected numbers from 0 to {steps}")
        total, longest = sum(target_lengths), max(target_lengths)
        fits = total == targets.shape[0] if targets.dim() == 1 else longest <= targets.shape[1]
        if min(target_lengths) < 0 or not fits:
            raise ValueError(
                f"{given}; target_lengths={target_lengths} do not fit: there are {targets.shape[-1]} columns"
            )
        self._refuse_classes(targets, target_lengths, classes)

    def _refuse_classes(self, targets: Tensor, target_lengths: list[int], classes: int) -> None:
        """PyTorch's kernels read whatever lies in memory where a class is out of bounds, and of blanks among the
        targets they give a wrong gradient."""
        if mode.tracing or targets.device.type != "cpu":  # where there are no values, or to ask is to wait
            return
        if targets.dim() == 2:
            within = torch.arange(targets.shape[1]) < torch.tensor(target_lengths).unsqueeze(1)
            targets = targets[within]
        wrong = (targets < 0) | (targets >= classes) | (targets == self.blank)
        if wrong.any():
            raise IndexError(
                f"{self}: class {int(targets[wrong][0])} among the targets: expected 0 to {classes - 1} without "
                f"{self.blank}, the blank, in what of each sequence's targets its target length takes in"
            )

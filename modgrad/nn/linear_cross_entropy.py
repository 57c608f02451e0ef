"""Cross entropy over a large vocabulary, together with the linear map that scores it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from modgrad import functional
from modgrad.graph import Buffer, Module
from modgrad.graph.errors import describe
from modgrad.nn.linear import Linear
from modgrad.nn.loss import Loss

__all__ = ["LinearCrossEntropyLoss"]


class LinearCrossEntropyLoss(Module):
    """L = mean over samples of -log softmax(h W^T + b)[t], by chunks of samples.

    The same as Linear(in_features, num_classes, bias=False) and CrossEntropyLoss, whose scores, log-probabilities and
    gradients of scores (each N x num_classes) never exist here: a buffer holds some rows of them at a time. For a mean
    or a sum the gradients come from the same pass; with reduction="none" the scores are computed again in backward.

    input (N, in_features) or (in_features). target: class indices (N) or (), or probabilities (N, num_classes) or
    (num_classes). `linear.weight` (num_classes, in_features) may be tied: `criterion.linear.weight = embedding.weight`.
    weight (num_classes): of each class. options: how many samples to a chunk; None for a buffer of 32 MB (256 MB on an
    accelerator). PyTorch's options for its own chunks are not taken, and out_features only as ().

    Traced with a dynamic batch size the scores are made in one piece, as a loop must have a known number of turns.
    """

    weight: Tensor | None
    linear: Linear

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        out_features: tuple[int, ...] = (),
        bias: bool = False,
        device: Any = None,
        dtype: Any = None,
        reduction: str = "mean",
        weight: Tensor | None = None,
        ignore_index: int | None = None,
        label_smoothing: float = 0.0,
        options: int | None = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if out_features != ():
            raise ValueError(
                f"{name}(out_features={out_features!r}): expected (). For a loss over further dimensions write "
                "Linear and CrossEntropyLoss"
            )
        if weight is not None and weight.shape != (num_classes,):
            raise ValueError(f"{name}: weight has shape {tuple(weight.shape)}, expected {(num_classes,)}")
        if not 0.0 <= label_smoothing <= 1.0:
            raise ValueError(f"{name}(label_smoothing={label_smoothing}): expected a number from 0 to 1")
        if options is not None and (type(options) is not int or options < 1):
            raise TypeError(f"{name}(options={options!r}): expected how many samples to a chunk, 1 or more, or None")
        if reduction not in functional.REDUCTIONS:
            raise ValueError(f'{name}(reduction={reduction!r}): expected "mean", "sum" or "none"')
        self.num_classes, self.out_features, self.reduction = num_classes, out_features, reduction
        self.ignore_index, self.label_smoothing, self.options = ignore_index, label_smoothing, options
        self.weight = Buffer(weight)  # type: ignore[assignment]
        self.linear = Linear(in_features, num_classes, bias=bias, device=device, dtype=dtype)

    def forward(self, input: Any, target: Any) -> Any:
        return LinearCrossEntropy(self)(input, self.linear.weight, self.linear.bias, target)

    def extra_repr(self) -> str:
        return "" if self.reduction == "mean" else f"reduction={self.reduction!r}"


class LinearCrossEntropy(Loss):
    """What LinearCrossEntropyLoss computes, of the input, the linear map's weight and bias, and the target."""

    def __init__(self, owner: LinearCrossEntropyLoss) -> None:
        super().__init__(reduction=owner.reduction)
        self.weight, self.rows, self.label_smoothing = owner.weight, owner.options, owner.label_smoothing
        self.ignore_index = -100 if owner.ignore_index is None else owner.ignore_index
        self.names_ignored = owner.ignore_index is not None

    def forward(self, call: Any, input: Tensor, weight: Tensor, bias: Tensor | None, target: Tensor) -> Tensor:
        self._refuse_mismatch(input, weight, target)
        call.single = input.dim() == 1  # one sample, without the dimension of samples
        call.save(input, weight, bias, target, self.weight)
        h, t = (input.unsqueeze(0), target.unsqueeze(0)) if call.single else (input, target)
        common = h, weight, bias, t, self.weight, self.ignore_index, self.reduction, self.label_smoothing
        wanted = call.wants(0), call.wants(1), bias is not None and call.wants(2)
        try:
            if self.reduction == "none" or not any(wanted):
                loss = functional.linear_cross_entropy(*common, self.rows)
            else:
                loss, call.gradients_at_one = functional.linear_cross_entropy_with_gradients(*common, wanted, self.rows)
        except (IndexError, RuntimeError) as error:
            raise self._explained(t, weight) or error from error
        return loss.squeeze(0) if call.single and self.reduction == "none" else loss

    def backward(self, call: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        input, weight, bias, target, of_classes = call.saved
        if call.single:
            input, target = input.unsqueeze(0), target.unsqueeze(0)
            grad = grad.unsqueeze(0) if self.reduction == "none" else grad
        # Those from forward are taken out of the call, so that they can be scaled where they are. A second backward
        # finds none, and computes the scores again.
        found = call.__dict__.pop("gradients_at_one", None)
        if found is None:
            wanted = call.wants(0), call.wants(1), bias is not None and call.wants(2)
            of_input, of_weight, of_bias = functional.linear_cross_entropy_backward(
                *(grad, input, weight, bias, target, of_classes, self.ignore_index, self.reduction),
                *(self.label_smoothing, wanted, self.rows),
            )
        else:
            of_input, of_weight, of_bias = (None if g is None else g.mul_(grad) for g in found)
        of_target = None
        if call.wants(3):
            of_target = functional.linear_cross_entropy_grad_target(
                grad, input, weight, bias, of_classes, self.reduction, self.label_smoothing
            )
        if call.single:
            of_input, of_target = (None if g is None else g.squeeze(0) for g in (of_input, of_target))
        return of_input, of_weight, of_bias, of_target

    def _refuse_mismatch(self, input: Tensor, weight: Tensor, target: Tensor) -> None:
        name, classes = "LinearCrossEntropyLoss", weight.shape[0]
        if input.dim() not in (1, 2) or input.shape[-1] != weight.shape[1]:
            raise ValueError(
                f"{name}: input is {describe(input)}, expected (N, {weight.shape[1]}) or ({weight.shape[1]},). "
                "Write input.flatten(0, -2) and target.flatten() for further dimensions"
            )
        if input.dtype != weight.dtype:
            raise TypeError(f"{name}: input is {input.dtype}, linear.weight {weight.dtype}: write input.to(...)")
        if target.is_floating_point():
            if self.names_ignored:
                raise ValueError(f"{name}: ignore_index={self.ignore_index} names a class; probabilities name none")
            if target.shape == (*input.shape[:-1], classes) and target.dtype == input.dtype:
                return
            wanted = f"probabilities must have shape {(*tuple(input.shape[:-1]), classes)} and {input.dtype}"
        else:
            if target.shape == input.shape[:-1] and target.dtype is torch.int64:
                return
            wanted = f"class indices must be int64, of shape {tuple(input.shape[:-1])}"
        raise ValueError(f"{name}: input is {describe(input)}, target is {describe(target)}; {wanted}")

    def _explained(self, target: Tensor, weight: Tensor) -> Exception | None:
        wrong = (target != self.ignore_index) & ((target < 0) | (target >= weight.shape[0]))
        if target.is_floating_point() or not wrong.any():
            return None
        return IndexError(
            f"LinearCrossEntropyLoss: class {int(target[wrong][0])} is out of bounds: classes are 0 to "
            f"{weight.shape[0] - 1}, and {self.ignore_index} (ignore_index) for none"
        )

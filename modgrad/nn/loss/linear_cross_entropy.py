"""Cross entropy over a large vocabulary, together with the linear map that scores it."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from modgrad import functional
from modgrad.graph import Module
from modgrad.graph.autocast import lower_dtype
from modgrad.graph.errors import describe
from modgrad.nn.linear import Linear
from modgrad.nn.loss.base import Loss, constant, weight_buffer

__all__ = ["LinearCrossEntropyLoss", "LinearCrossEntropyOptions"]

_POLICIES = ("auto", "accurate", "balanced", "compact")


@dataclass(frozen=True, slots=True)
class LinearCrossEntropyOptions:
    """How LinearCrossEntropyLoss takes the samples in chunks, which changes nothing but the rounding.

    allow_retain_graph: whether a second backward finds the gradients still there, and the first takes memory for
        others. Without it a second backward computes the scores again.
    batch_chunk_size: how many samples to a chunk.
    chunking_method: what says so otherwise: "auto" for a buffer of 32 MB (256 MB on an accelerator), "aspect_ratio:n"
        for scores that take about 1/n of the input's memory, None for one chunk.
    acc_policy: what is in acc_dtype rather than in the input's own: "compact", no product; "balanced", the weight's
        gradient; "accurate", all. "auto": "accurate" for float16 on the CPU, else "compact".
    acc_dtype: float32 for half precision, else the input's own. Scores and losses are never in half precision.
    """

    allow_retain_graph: bool = False
    batch_chunk_size: int | None = None
    chunking_method: str | None = "auto"
    acc_policy: str = "auto"
    acc_dtype: torch.dtype | None = None

    def __post_init__(self) -> None:
        name, size, method = type(self).__name__, self.batch_chunk_size, self.chunking_method
        if size is not None and (type(size) is not int or size < 1):
            raise ValueError(f"{name}(batch_chunk_size={size!r}): expected how many samples to a chunk, from 1 up")
        ratio, _, parts = (method or "").partition(":")
        if method not in (None, "auto", "aspect_ratio") and not (
            ratio == "aspect_ratio" and parts.isdigit() and int(parts) > 0
        ):
            raise ValueError(
                f'{name}(chunking_method={method!r}): expected "auto", "aspect_ratio", "aspect_ratio:2" or another '
                "number, or None"
            )
        if self.acc_policy not in _POLICIES:
            raise ValueError(f"{name}(acc_policy={self.acc_policy!r}): expected one of {_POLICIES}")

    def chunks(self, input: Tensor, num_classes: int) -> functional.Chunks:
        """For such an input (N, in_features)."""
        count, features = input.shape
        if self.acc_dtype not in (None, input.dtype) and not (
            self.acc_dtype is torch.float32 and input.dtype in (torch.float16, torch.bfloat16)
        ):
            raise TypeError(
                f"LinearCrossEntropyLoss: the input is {input.dtype}, and acc_dtype={self.acc_dtype}; expected None, "
                "the input's own, or torch.float32 for half precision"
            )
        precision = "compact" if self.acc_policy == "auto" and self.acc_dtype == input.dtype else self.acc_policy
        if not isinstance(count, int):  # traced with a dynamic batch, where there are no chunks
            return functional.Chunks(None, precision)
        rows, method = self.batch_chunk_size, self.chunking_method or ""
        if method.startswith("aspect_ratio"):
            whole = -(-count // -(-num_classes // features)) if features else count
            power = 1 << max(whole - 1, 0).bit_length()
            by_ratio = max(min(power // int(method.partition(":")[2] or 1), count), 1)
            if rows not in (None, by_ratio):
                raise ValueError(
                    f"LinearCrossEntropyLoss: batch_chunk_size={rows} and chunking_method={method!r}, which is "
                    f"{by_ratio} samples here: give one of the two"
                )
            rows = by_ratio
        if rows is None and self.chunking_method is None:
            rows = max(count, 1)
        return functional.Chunks(rows, precision)


def _understood(options: Any) -> LinearCrossEntropyOptions:
    """Options as they may be given: a number of samples, those above or PyTorch's, or None."""
    if options is None:
        return LinearCrossEntropyOptions()
    if type(options) is int:
        return LinearCrossEntropyOptions(batch_chunk_size=options)
    names = [field.name for field in fields(LinearCrossEntropyOptions)]
    if not all(hasattr(options, name) for name in names):
        raise TypeError(
            f"LinearCrossEntropyLoss(options={options!r}): expected LinearCrossEntropyOptions, how many samples to a "
            "chunk, or None"
        )
    return LinearCrossEntropyOptions(**{name: getattr(options, name) for name in names})


class LinearCrossEntropyLoss(Module):
    """L = mean over samples of -log softmax(h W^T + b)[t], by chunks of samples.

    The same as Linear(in_features, num_classes, bias=False) and CrossEntropyLoss, whose scores, log-probabilities and
    gradients of scores (each N x num_classes) never exist here: a buffer holds some rows of them at a time. For a mean
    or a sum the gradients come from the same pass; with reduction="none" the scores are computed again in backward.

    input (N, in_features) or (in_features). target: class indices (N) or (), or probabilities (N, num_classes) or
    (num_classes). `linear.weight` (num_classes, in_features) may be tied: `criterion.linear.weight = embedding.weight`.
    out_features (d1, ...): for a loss in further dimensions, each place of which has scores of its own: indices are
    (N, d1, ...), probabilities (N, num_classes, d1, ...), `linear.weight` (num_classes d1 ..., in_features).
    weight (num_classes): of each class. ignore_index: None is -100. options: LinearCrossEntropyOptions, how many
    samples to a chunk, or None for a buffer of 32 MB (256 MB on an accelerator).

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
        options: Any = None,
    ) -> None:
        super().__init__()
        if weight is not None and weight.shape != (num_classes,):
            raise ValueError(
                f"LinearCrossEntropyLoss: weight has shape {tuple(weight.shape)}, expected {(num_classes,)}"
            )
        LinearCrossEntropy(weight, ignore_index, reduction, label_smoothing, options)  # which looks at these
        self.num_classes, self.out_features, self.reduction = num_classes, out_features, reduction
        self.ignore_index, self.label_smoothing, self.options = ignore_index, label_smoothing, options
        self.weight = weight_buffer(self, "weight", weight)
        scores = math.prod(out_features, start=num_classes)
        self.linear = Linear(in_features, scores, bias=bias, device=device, dtype=dtype)

    def forward(self, input: Any, target: Any) -> Any:
        weight, bias = self.linear.weight, self.linear.bias
        if self.out_features:
            weight = weight.reshape(self.num_classes, *self.out_features, self.linear.in_features)  # type: ignore[assignment]
            bias = None if bias is None else bias.reshape(self.num_classes, *self.out_features)  # type: ignore
        loss = LinearCrossEntropy(self.weight, self.ignore_index, self.reduction, self.label_smoothing, self.options)
        return loss(input, weight, bias, target)

    def extra_repr(self) -> str:
        return (
            f"in_features={self.linear.in_features}, num_classes={self.num_classes}, out_features={self.out_features}, "
            f"bias={self.linear.bias is not None}, reduction={self.reduction}, ignore_index={self.ignore_index}, "
            f"label_smoothing={self.label_smoothing}, options={self.options}"
        )


class LinearCrossEntropy(Loss):
    """What LinearCrossEntropyLoss computes, of the input, the linear map's weight and bias, and the target.

    Under autocast its products are in the lower dtype, and all else, the loss above all, in float32.
    """

    autocast = "linear_cross_entropy"

    def __init__(
        self, weight: Tensor | None, ignore_index: int | None, reduction: str, label_smoothing: float, options: Any
    ) -> None:
        super().__init__(reduction=reduction)
        if not 0.0 <= label_smoothing <= 1.0:
            raise ValueError(
                f"LinearCrossEntropyLoss(label_smoothing={label_smoothing}): expected a number from 0 to 1"
            )
        self.names_ignored, self.options = ignore_index is not None, _understood(options)
        self.ignore_index = -100 if ignore_index is None else ignore_index
        weight = constant(self, "weight", weight)
        self.criterion = functional.Criterion(weight, self.ignore_index, reduction, label_smoothing)

    def forward(self, call: Any, input: Tensor, weight: Tensor, bias: Tensor | None, target: Tensor) -> Tensor:
        self._refuse_mismatch(input, weight, bias, target)
        call.single = input.dim() == 1  # one sample, without the dimension of samples
        call.save(input, weight, bias, target, self.criterion.weight)
        h, t = (input.unsqueeze(0), target.unsqueeze(0)) if call.single else (input, target)
        common = h, weight, bias, t, self.criterion
        call.chunks = chunks = self.options.chunks(h, weight.shape[0])._replace(lower=lower_dtype(h))
        wanted = call.wants(0), call.wants(1), bias is not None and call.wants(2)
        try:
            if self.reduction == "none" or not any(wanted):
                loss = functional.linear_cross_entropy(*common, chunks)
            else:
                loss, call.gradients_at_one = functional.linear_cross_entropy_with_gradients(*common, wanted, chunks)
        except (IndexError, RuntimeError) as error:
            raise self._explained(t, weight) or error from error
        return loss.squeeze(0) if call.single and self.reduction == "none" else loss

    def backward(self, call: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        input, weight, bias, target, _ = call.saved
        if call.single:
            input, target = input.unsqueeze(0), target.unsqueeze(0)
            grad = grad.unsqueeze(0) if self.reduction == "none" else grad
        # Those from forward are taken out of the call, so that they can be scaled where they are. A second backward
        # finds none, and computes the scores again.
        keep = self.options.allow_retain_graph
        found = call.__dict__.get("gradients_at_one") if keep else call.__dict__.pop("gradients_at_one", None)
        if found is None:
            wanted = call.wants(0), call.wants(1), bias is not None and call.wants(2)
            of_input, of_weight, of_bias = functional.linear_cross_entropy_backward(
                grad, input, weight, bias, target, self.criterion, wanted, call.chunks
            )
        elif keep:
            of_input, of_weight, of_bias = (None if g is None else g * grad for g in found)
        else:
            of_input, of_weight, of_bias = (None if g is None else g.mul_(grad) for g in found)
        of_target = None
        if call.wants(3):
            of_target = functional.linear_cross_entropy_grad_target(grad, input, weight, bias, self.criterion)
        if call.single:
            of_input, of_target = (None if g is None else g.squeeze(0) for g in (of_input, of_target))
        return of_input, of_weight, of_bias, of_target

    def _refuse_mismatch(self, input: Tensor, weight: Tensor, bias: Tensor | None, target: Tensor) -> None:
        name, classes, features = "LinearCrossEntropyLoss", weight.shape[0], weight.shape[-1]
        places, batch = weight.shape[1:-1], input.shape[:-1]
        if input.dim() not in (1, 2) or input.shape[-1] != features or (places and input.dim() == 1):
            single = "" if places else f" or ({features},)"
            raise ValueError(
                f"{name}: input is {describe(input)}, expected (N, {features}){single}. "
                "Write input.flatten(0, -2) and target.flatten() for further dimensions"
            )
        if input.dtype != weight.dtype:
            raise TypeError(f"{name}: input is {input.dtype}, linear.weight {weight.dtype}: write input.to(...)")
        if bias is not None and bias.shape != weight.shape[:-1]:
            raise ValueError(f"{name}: the bias is {describe(bias)}, expected shape {tuple(weight.shape[:-1])}")
        if target.is_floating_point():
            if self.names_ignored:
                raise ValueError(f"{name}: ignore_index={self.ignore_index} names a class; probabilities name none")
            if target.shape == (*batch, classes, *places) and target.dtype == input.dtype:
                return
            wanted = f"probabilities must have shape {(*batch, classes, *places)} and {input.dtype}"
        else:
            if target.shape == (*batch, *places) and target.dtype is torch.int64:
                return
            wanted = f"class indices must be int64, of shape {(*batch, *places)}"
        raise ValueError(f"{name}: input is {describe(input)}, target is {describe(target)}; {wanted}")

    def _explained(self, target: Tensor, weight: Tensor) -> Exception | None:
        wrong = (target != self.ignore_index) & ((target < 0) | (target >= weight.shape[0]))
        if target.is_floating_point() or not wrong.any():
            return None
        return IndexError(
            f"LinearCrossEntropyLoss: class {int(target[wrong][0])} is out of bounds: classes are 0 to "
            f"{weight.shape[0] - 1}, and {self.ignore_index} (ignore_index) for none"
        )

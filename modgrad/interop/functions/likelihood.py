"""`torch.nn.functional` on Variables: losses of classes."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F

from modgrad import nn
from modgrad.graph.call import is_parameter, is_variable
from modgrad.graph.dispatch import operator
from modgrad.nn.linear_cross_entropy import LinearCrossEntropy


def _constant(weight: Any, name: str) -> Any:
    """The weights of the classes, which get no gradient here."""
    if is_variable(weight) or (is_parameter(weight) and weight.grad_f):
        raise RuntimeError(
            f"{name}: the classes' weight is a {type(weight).__name__}, whose gradient is not there in modgrad: write "
            "weight.detach() if it is to get none"
        )
    return weight.detach() if is_parameter(weight) else weight


@operator(F.cross_entropy)
def _cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: None = None,
    ignore_index: int = -100,
    reduce: None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    weight = _constant(weight, "cross_entropy")
    loss = nn.CrossEntropyLoss(weight, size_average, ignore_index, reduce, reduction, label_smoothing)
    return loss(input, target)


@operator(F.nll_loss)
def _nll_loss(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: None = None,
    ignore_index: int = -100,
    reduce: None = None,
    reduction: str = "mean",
) -> Any:
    return nn.NLLLoss(_constant(weight, "nll_loss"), size_average, ignore_index, reduce, reduction)(input, target)


@operator(F.ctc_loss)
def _ctc_loss(
    log_probs: Any,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Any:
    return nn.CTCLoss(blank, reduction, zero_infinity)(log_probs, targets, input_lengths, target_lengths)


if hasattr(F, "linear_cross_entropy"):  # since PyTorch 2.13

    @operator(F.linear_cross_entropy)
    def _linear_cross_entropy(
        input: Any,
        linear_weight: Any,
        target: Any,
        *,
        linear_bias: Any = None,
        weight: Any = None,
        reduction: str = "mean",
        ignore_index: int | None = None,
        label_smoothing: float = 0.0,
        options: Any = None,
    ) -> Any:
        weight = _constant(weight, "linear_cross_entropy")
        loss = LinearCrossEntropy(weight, ignore_index, reduction, label_smoothing, options)
        return loss(input, linear_weight, linear_bias, target)

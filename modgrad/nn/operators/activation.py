"""torch's own names of activations, dropout and padding, on Variables."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from modgrad import functional
from modgrad.graph import Primitive
from modgrad.graph.dispatch import operator
from modgrad.nn import activation, dropout
from modgrad.nn.padding import Pad

_T: Any = Tensor
_torch: Any = torch


class PReLUOf(Primitive):
    """PReLU of a weight that is an input: a Variable, another layer's parameter, or a plain tensor."""

    autocast = "prelu"

    def forward(self, call: Any, input: Tensor, weight: Tensor) -> Tensor:
        activation.check_prelu("prelu", input, weight)
        call.save(input, weight)
        return functional.prelu(input, weight)

    def backward(self, call: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        if call.wants(0) and call.wants(1):
            return functional.prelu_backward(grad, *call.saved)
        if call.wants(0):
            return functional.prelu_grad_input(grad, *call.saved), None
        return None, functional.prelu_grad_weight(grad, *call.saved)


operator(torch.prelu, _T.prelu)(PReLUOf())
operator(torch.selu)(activation.SELU())


@operator(torch.celu)
def _celu(input: Any, alpha: float = 1.0) -> Any:
    return activation.CELU(alpha)(input)


@operator(torch.threshold)
def _threshold(input: Any, threshold: float, value: float) -> Any:
    return activation.Threshold(threshold, value)(input)


@operator(torch.hardshrink, _T.hardshrink)
def _hardshrink(input: Any, lambd: float = 0.5) -> Any:
    return activation.Hardshrink(lambd)(input)


@operator(torch.rrelu)
def _rrelu(
    input: Any, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False, generator: Any = None
) -> Any:
    if generator is not None:
        raise RuntimeError(
            "rrelu(generator=...) of a Variable: noise is drawn from torch's own generator; write torch.manual_seed"
        )
    return activation.RReLU(lower, upper).train(training)(input)


@operator(_torch.special.softmax)
def _softmax(input: Any, dim: int, *, dtype: torch.dtype | None = None) -> Any:
    return activation.Softmax(dim)(input if dtype is None else input.to(dtype))


@operator(_torch.special.log_softmax)
def _log_softmax(input: Any, dim: int, *, dtype: torch.dtype | None = None) -> Any:
    return activation.LogSoftmax(dim)(input if dtype is None else input.to(dtype))


def _drops(layer: Any) -> Any:
    return lambda input, p, train: layer(p).train(train)(input)


operator(torch.dropout)(_drops(dropout.Dropout))
operator(torch.alpha_dropout)(_drops(dropout.AlphaDropout))
operator(torch.feature_dropout)(_drops(dropout.FeatureDropout))
operator(torch.feature_alpha_dropout)(_drops(dropout.FeatureAlphaDropout))


@operator(torch.constant_pad_nd)
def _constant_pad_nd(input: Any, pad: Any, value: float = 0) -> Any:
    return Pad(pad, "constant", value)(input)

"""Convolutions as functions of Variables: weight and bias are inputs, Parameters, Variables or plain tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from modgrad import functional
from modgrad.graph.dispatch import operator
from modgrad.nn.arguments import SIDES, sizes
from modgrad.nn.convolution import Convolving, Pads, named, padded_first

_torch: Any = torch


class _Function(Convolving):
    """A convolution with gradients for x, w and b. Keeps x and w, each if the other's gradient is wanted."""

    of_weight: ClassVar[str]  # its shape, in words

    def forward(
        self,
        call: Any,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        how: tuple[Any, ...],
        pads: Pads = None,
    ) -> Tensor:
        call.save(input if call.wants(1) else None, weight if call.wants(0) else None)
        try:
            return self.convolve(call, input, weight, bias, how, pads)
        except RuntimeError as error:
            explained = self._explained(input, weight, bias)
            raise explained or named(error, type(self).__name__, input) from error

    def backward(self, call: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        input, weight = call.saved
        return (
            self.input_gradient(call, grad, weight) if call.wants(0) else None,
            self.weight_gradient(call, grad, input) if call.wants(1) else None,
            self.bias_gradient(call, grad) if call.wants(2) else None,
        )

    def _explained(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Exception | None:
        given = [x for x in (input, weight, bias) if x is not None]
        if len({x.dtype for x in given}) > 1:
            names = "input, weight and bias are " + ", ".join(str(x.dtype) for x in given)
            return TypeError(f"{type(self).__name__}: {names}: write .to({input.dtype}) on the others")
        n = weight.dim() - 2
        if input.dim() not in (n + 1, n + 2):
            return ValueError(
                f"{type(self).__name__} was given an input of shape {tuple(input.shape)} and a weight of shape "
                f"{tuple(weight.shape)}: expected an input (N, C, {SIDES[n]}) or (C, {SIDES[n]}) and a weight "
                + self.of_weight.format(kernel="kernel " + SIDES[n])
            )
        return None


class Convolution(_Function):
    """y = x * w + b."""

    of_weight = "(O, C / groups, {kernel})"


class TransposedConvolution(_Function):
    """What a convolution with the same weight does to its gradient."""

    of_weight = "(C, O / groups, {kernel})"
    functions = (
        functional.transposed_convolution,
        functional.transposed_convolution_grad_input,
        functional.transposed_convolution_grad_weight,
    )


_CONVOLUTION, _TRANSPOSED = Convolution(), TransposedConvolution()


def _check_weight(who: str, weight: Any, n: int) -> None:
    if weight.dim() != n + 2:
        raise ValueError(f"{who}: expected a weight of {n + 2} dimensions, got one of shape {tuple(weight.shape)}")


def _convolution(n: int) -> Callable[..., Any]:
    who = f"conv{n}d"

    def convolution(
        input: Any,
        weight: Any,
        bias: Any = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Any:
        _check_weight(who, weight, n)
        stride, dilation = sizes(stride, n, f"{who}(stride)"), sizes(dilation, n, f"{who}(dilation)")
        pads: Pads = None
        if isinstance(padding, str):
            padding, pads = padded_first(who, padding, weight.shape[2:], stride, dilation)
        return _CONVOLUTION(input, weight, bias, (stride, sizes(padding, n, f"{who}(padding)"), dilation, groups), pads)

    return convolution


def _transposed(n: int) -> Callable[..., Any]:
    who = f"conv_transpose{n}d"

    def transposed_convolution(
        input: Any,
        weight: Any,
        bias: Any = None,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        dilation: Any = 1,
    ) -> Any:
        _check_weight(who, weight, n)
        named = {"stride": stride, "padding": padding, "dilation": dilation, "output_padding": output_padding}
        stride, padding, dilation, output_padding = (sizes(x, n, f"{who}({k})") for k, x in named.items())
        return _TRANSPOSED(input, weight, bias, (stride, padding, dilation, groups, output_padding))

    return transposed_convolution


for _n in (1, 2, 3):
    operator(getattr(_torch, f"conv{_n}d"))(_convolution(_n))
    operator(getattr(_torch, f"conv_transpose{_n}d"))(_transposed(_n))

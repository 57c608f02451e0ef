"""Convolutions."""

from __future__ import annotations

from typing import Any

import torch

from modgrad.export.onnx.graph import Value
from modgrad.export.onnx.lowering.table import Operation, lowers, rank

aten: Any = torch.ops.aten


def _each(numbers: Any, dims: int) -> list[int]:
    """A number for each dimension of space."""
    numbers = [numbers] if isinstance(numbers, int) else list(numbers)
    return numbers * dims if len(numbers) == 1 else numbers


@lowers(aten.conv1d.default, aten.conv2d.default, aten.conv3d.default)
def convolution(
    on: Operation,
    x: Value,
    weight: Value,
    bias: Value | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Value:
    return _convolved(on, "Conv", x, weight, bias, stride, padding, dilation, groups)


@lowers(aten.conv_transpose1d.default, aten.conv_transpose2d.input, aten.conv_transpose3d.input)
def transposed_convolution(
    on: Operation,
    x: Value,
    weight: Value,
    bias: Value | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Value:
    return _convolved(on, "ConvTranspose", x, weight, bias, stride, padding, dilation, groups, output_padding)


@lowers(aten.convolution.default)
def any_convolution(
    on: Operation,
    x: Value,
    weight: Value,
    bias: Value | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
) -> Value:
    kind = "ConvTranspose" if transposed else "Conv"
    return _convolved(
        on, kind, x, weight, bias, stride, padding, dilation, groups, output_padding if transposed else None
    )


def _convolved(
    on: Operation,
    kind: str,
    x: Value,
    weight: Value,
    bias: Value | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    output_padding: Any = None,
) -> Value:
    dims = rank(weight) - 2
    batched = rank(x) == dims + 2
    if not batched:
        x = on.unsqueeze(x, 0)
    pads = _each(padding, dims)
    outside = None if output_padding is None else _each(output_padding, dims)
    found = on.op(
        kind,
        x,
        weight,
        bias,
        kernel_shape=[int(size) for size in (weight.shape or ())[2:]] if _fixed(weight) else None,
        strides=_each(stride, dims),
        pads=[*pads, *pads],
        dilations=_each(dilation, dims),
        group=groups,
        output_padding=outside if outside and any(outside) else None,
    )
    return found if batched else on.op("Squeeze", found, on.ints(0))


def _fixed(weight: Value) -> bool:
    return all(isinstance(size, int) for size in (weight.shape or ())[2:])

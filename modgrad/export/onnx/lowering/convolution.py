"""Convolutions, and their gradients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from modgrad.export.onnx.graph import Value
from modgrad.export.onnx.lowering.table import Operation, decomposes, is_fixed, lowers, rank
from modgrad.functional.convolution import (
    convolution_grad_bias,
    convolution_grad_input,
    transposed_convolution_grad_input,
)

aten: Any = torch.ops.aten
# As measured in onnxruntime, in which a product is made of 16 columns at a time:
_FEW = 16  # channels, below which the windows of all places are put together for one product
_LARGE = 128  # places, from which on a product for each sample takes less than to bring samples together


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
    strides, before, dilations = (_each(numbers, dims) for numbers in (stride, padding, dilation))
    # More places at the far end are fewer that are cut off there; beyond what was reached at all they are zeros.
    more = [0] * dims if output_padding is None else _each(output_padding, dims)
    after = [pad - places for pad, places in zip(before, more, strict=True)]
    if kind == "ConvTranspose" and set(strides) == {1} and _small(x, weight):
        # What is put back by single steps is gathered by the weight turned around.
        reach = [d * (size - 1) for d, size in zip(dilations, _space(weight), strict=True)]
        sides = [[r - pad for r, pad in zip(reach, side, strict=True)] for side in (before, after)]
        if min(*sides[0], *sides[1]) >= 0:
            kind, weight, (before, after) = "Conv", _turned(on, weight, groups), sides
    zeros = [max(-pad, 0) for pad in after]
    late = bias if any(zeros) else None
    found = on.op(
        kind,
        x,
        weight,
        None if late is not None else bias,
        kernel_shape=_space(weight) if _fixed(weight) else None,
        strides=strides,
        pads=[*before, *(max(pad, 0) for pad in after)],
        dilations=dilations,
        group=groups,
    )
    if any(zeros):
        found = on.op("Pad", found, on.ints(*[0] * (dims + 4), *zeros))
    if late is not None:
        found = on.op("Add", found, on.reshape(late, (-1, *[1] * dims)))
    return found if batched else on.op("Squeeze", found, on.ints(0))


def _space(weight: Value) -> list[int]:
    return [int(size) for size in (weight.shape or ())[2:]]


def _fixed(weight: Value) -> bool:
    return all(isinstance(size, int) for size in (weight.shape or ())[2:])


def _small(x: Value, weight: Value) -> bool:
    """Whether onnxruntime has Conv faster than ConvTranspose: windows of one place, or images smaller than many."""
    _, channels, *space = x.shape or ()
    if not _fixed(weight) or not all(map(is_fixed, (channels, *space))):
        return False
    return math.prod(_space(weight)) == 1 or int(channels) >= 2 * math.prod(map(int, space))


def _turned(on: Operation, weight: Value, groups: int) -> Value:
    """The weight (C, O / groups, *) of a transposed convolution as (O, C / groups, *), turned around in space."""
    inputs, outputs, *space = weight.shape or ()
    by_group = on.reshape(weight, (groups, inputs // groups, outputs, math.prod(space)))
    turned = on.transpose(by_group, [0, 2, 1, 3])
    if math.prod(space) > 1:
        turned = on.op("Slice", turned, on.ints(-1), on.ints(-(2**63)), on.ints(3), on.ints(-1), shape=turned.shape)
    return on.reshape(turned, (groups * outputs, inputs // groups, *space))


# Gradients


@decomposes(aten.convolution_backward.default)
def convolution_backward(
    grad: Tensor,
    input: Tensor,
    weight: Tensor,
    bias_sizes: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
    mask: Sequence[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """The gradients of input, weight and bias, those that `mask` asks for: the weight's by products of matrices."""
    dims = weight.dim() - 2
    strides, pads, dilations, more = (_each(numbers, dims) for numbers in (stride, padding, dilation, output_padding))
    how: Any = strides, pads, dilations, groups
    grad_input = grad_weight = None
    if mask[0]:
        of: Any = transposed_convolution_grad_input if transposed else convolution_grad_input
        grad_input = of.formula(grad, input.shape, weight, *how, *([more] if transposed else []))
    if mask[1]:
        coarse, fine = (input, grad) if transposed else (grad, input)
        grad_weight = _grad_weight(coarse, fine, weight.shape, *how)
    return grad_input, grad_weight, convolution_grad_bias(grad) if mask[2] else None


def _grad_weight(
    coarse: Tensor,
    fine: Tensor,
    weight_shape: torch.Size,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
) -> Tensor:
    """sum_{n,i} coarse[n,o,i] fine[n, c, i stride + u dilation - padding], for o and c of the same group.

    For each place u of the window a product of matrices, coarse (O, N *) with the part of fine (N *, C) that it meets;
    of few channels one product for all u. A window of one place leaves samples where they are, if they are large.
    """
    out_channels, in_channels, *kernel = weight_shape
    n, out, space = coarse.shape[0], out_channels // groups, coarse.shape[2:]
    shifts = [range(0, size * d, d) for size, d in zip(kernel, dilation, strict=True)]
    ends = [(size - 1) * s + 1 for size, s in zip(space, stride, strict=True)]
    reach = [end + shift[-1] for end, shift in zip(ends, shifts, strict=True)]
    sides = [(p, r - size - p) for p, r, size in zip(padding, reach, fine.shape[2:], strict=True)]
    apart = math.prod(kernel) == 1 and math.prod(space) >= _LARGE
    rows, parts = _in_groups(coarse, groups, apart).flatten(2), [_in_groups(_padded(fine, sides), groups, apart)]
    for d, shift in enumerate(shifts):
        parts = [_part(x, d - len(shifts), start, ends[d], stride[d]) for x in parts for start in shift]
    windows = [x.flatten(2).transpose(1, 2) for x in parts]
    if apart:
        found = torch.bmm(rows, windows[0]).reshape(n, groups, out, in_channels).sum(0)
    elif in_channels < _FEW and out > 1:
        found = torch.bmm(rows, torch.cat(windows, 2)).reshape(groups, out, -1, in_channels).transpose(2, 3)
    else:
        found = torch.stack([torch.bmm(rows, x) for x in windows], 3)
    return found.reshape(weight_shape)


def _in_groups(x: Tensor, groups: int, apart: bool) -> Tensor:
    """(N, C, *) as (groups, C / groups, N, *), or with samples apart, as (N groups, C / groups, *)."""
    n, channels, *space = x.shape
    if apart:
        return x if groups == 1 else x.reshape(n * groups, channels // groups, *space)
    if groups == 1:
        return x.transpose(0, 1).unsqueeze(0)
    by_group = x.reshape(n, groups, channels // groups, *space)
    return by_group.permute(1, 2, 0, *range(3, by_group.dim()))


def _padded(x: Tensor, sides: Sequence[tuple[int, int]]) -> Tensor:
    """With zeros before and after each dimension of space; fewer than none are cut off."""
    pads = [pad for side in reversed(sides) for pad in side]
    return torch.constant_pad_nd(x, pads) if any(pads) else x


def _part(x: Tensor, dim: int, start: int, length: int, step: int) -> Tensor:
    return aten.slice.Tensor(x, dim, start, start + length, step)

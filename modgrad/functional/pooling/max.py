"""Max pooling, and its partial inverse.

`indices` (int64, of the output's shape): each value's place in its channel, counted row by row.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from modgrad.functional.kernel import direct, kernel, running_formulas
from modgrad.functional.pooling.shapes import Backward, Sizes

__all__ = ["max_pool", "max_pool_backward", "max_unpool", "max_unpool_backward"]

aten: Any = torch.ops.aten
_POOL = {2: direct(aten.max_pool2d_with_indices.default), 3: direct(aten.max_pool3d_with_indices.default)}
_BACKWARD = {2: Backward("max_pool2d_with_indices_backward"), 3: Backward("max_pool3d_with_indices_backward")}
_LAST = {2: torch.channels_last, 3: torch.channels_last_3d}
_CHANNELS, _LARGE = 8, 2**15  # from which on the kernel for channels that are last wins by more than what it costs
_AT_ONCE = 2**20  # bytes that are brought into its order at a time


def max_pool(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    ceil_mode: bool,
    compact: bool = False,
) -> tuple[Tensor, Tensor]:
    """y = the largest x in each window; and its place, the first where there are several.   Returns y, indices.

    compact: the indices may be of a smaller kind of integer, where making them so takes no time.
    """
    dims = len(kernel_size)
    if dims == 1:
        output, indices = max_pool(
            input.unsqueeze(-2), (1, *kernel_size), (1, *stride), (0, *padding), (1, *dilation), ceil_mode, compact
        )
        return output.squeeze(-2), indices.squeeze(-2)
    if not _faster_with_channels_last(input, dims):
        return _POOL[dims](input, kernel_size, stride, padding, dilation, ceil_mode)
    places = math.prod(input.shape[-dims:])
    kind = torch.int64 if not compact else torch.int16 if places <= 2**15 else torch.int32
    return _with_channels_last(input, dims, kind, kernel_size, stride, padding, dilation, ceil_mode)


def _with_channels_last(input: Tensor, dims: int, kind: torch.dtype, *windows: Any) -> tuple[Tensor, Tensor]:
    """Bring values into that order and results back, some samples after the other: so it takes little memory."""
    pool, form, samples = _POOL[dims], _LAST[dims], len(input)
    at_once = max(1, _AT_ONCE * samples // (input.numel() * input.element_size()))
    output = indices = input
    for start in range(0, samples, at_once):
        some, places = pool(input[start : start + at_once].contiguous(memory_format=form), *windows)
        if start == 0:
            output = input.new_empty((samples, *some.shape[1:]))
            indices = torch.empty(output.shape, dtype=kind)
        output[start : start + at_once] = some
        indices[start : start + at_once] = places
    return output, indices


def _faster_with_channels_last(input: Tensor, dims: int) -> bool:
    """The CPU's kernel branches at each value, unless channels are last: as measured, bringing values into that order
    and results back takes a half to a tenth of the time. A tensor that stands for one in tracing is left alone."""
    return (
        type(input) is Tensor
        and input.numel() >= _LARGE
        and input.dim() == dims + 2
        and input.shape[1] >= _CHANNELS
        and input.device.type == "cpu"
        and input.is_floating_point()
        and input.is_contiguous()
        and not running_formulas()
    )


def _max_pool_backward_kernel(
    grad: Tensor,
    indices: Tensor,
    input_shape: torch.Size,
    kernel_size: Sizes,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    ceil_mode: bool,
) -> Tensor:
    if len(kernel_size) == 1:
        shape = torch.Size((*input_shape[:-1], 1, input_shape[-1]))
        windows = (1, *kernel_size), (1, *stride), (0, *padding), (1, *dilation), ceil_mode
        return _max_pool_backward_kernel(grad.unsqueeze(-2), indices.unsqueeze(-2), shape, *windows).squeeze(-2)
    if indices.dtype is not torch.int64:
        indices = indices.to(torch.int64)
    options = kernel_size, stride, padding, dilation, ceil_mode, indices
    return _BACKWARD[len(kernel_size)](grad, indices, input_shape, *options)


@kernel(_max_pool_backward_kernel)
def max_pool_backward(
    grad: Tensor,
    indices: Tensor,
    input_shape: torch.Size,
    kernel_size: Sizes,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    ceil_mode: bool,
) -> Tensor:
    """dL/dx: each window's gradient goes to the place that its largest value came from; others get none."""
    return put_back(grad, indices, input_shape, len(kernel_size))


def put_back(values: Tensor, indices: Tensor, shape: Sizes, dims: int) -> Tensor:
    """Zeros of `shape`, plus each value at its place in its channel.   dims: how many dimensions a channel has."""
    flat = values.new_zeros(shape).flatten(-dims)
    return flat.scatter_add(-1, indices.flatten(-dims).to(torch.int64), values.flatten(-dims)).reshape(shape)


def max_unpool(input: Tensor, indices: Tensor, output_size: Sizes) -> Tensor:
    """y = x at the places `indices`, 0 at all others.   input, indices: alike; returns (N, C, *output_size)."""
    dims = len(output_size)
    shape = (*input.shape[:-dims], *output_size)
    flat = input.new_zeros(shape).flatten(-dims)
    return flat.scatter(-1, indices.flatten(-dims), input.flatten(-dims)).reshape(shape)


def max_unpool_backward(grad: Tensor, indices: Tensor, dims: int) -> Tensor:
    """dL/dx = dL/dy at the places `indices`.   grad (N, C, *output_size); dims: how many sizes these are."""
    return grad.flatten(-dims).gather(-1, indices.flatten(-dims)).reshape(indices.shape)

"""Max pooling by windows that divide the input as evenly as can be, or that lie at random.

`indices` (int64, of the output's shape): each value's place in its channel, counted row by row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from modgrad.functional.dropout import hash32
from modgrad.functional.kernel import direct, kernel
from modgrad.functional.pooling.max import put_back
from modgrad.functional.pooling.shapes import Backward, Sizes, with_row

__all__ = [
    "adaptive_max_pool",
    "adaptive_max_pool_backward",
    "fractional_max_pool",
    "fractional_max_pool_backward",
    "fractional_samples",
]

aten: Any = torch.ops.aten
_ADAPTIVE = {2: direct(aten.adaptive_max_pool2d.default), 3: direct(aten.adaptive_max_pool3d.default)}
_ADAPTIVE_BACKWARD = {2: Backward("adaptive_max_pool2d_backward"), 3: Backward("adaptive_max_pool3d_backward")}
_FRACTIONAL = {2: direct(aten.fractional_max_pool2d.default), 3: direct(aten.fractional_max_pool3d.default)}
_FRACTIONAL_BACKWARD = {2: Backward("fractional_max_pool2d_backward"), 3: Backward("fractional_max_pool3d_backward")}


def _adaptive_max_pool_kernel(input: Tensor, output_size: Sizes) -> tuple[Tensor, Tensor]:
    if len(output_size) == 1:
        output, indices = _ADAPTIVE[2](input.unsqueeze(-2), with_row(output_size, 1))
        return output.squeeze(-2), indices.squeeze(-2)
    return _ADAPTIVE[len(output_size)](input, output_size)


@kernel(_adaptive_max_pool_kernel)
def adaptive_max_pool(input: Tensor, output_size: Sizes) -> tuple[Tensor, Tensor]:
    """y = the largest x in each of output_size windows, and its place.   Returns y, indices.

    Window i of n, of a side of s places, runs from floor(i s / n) to ceil((i + 1) s / n).
    """
    return _largest(
        input, [_divided(s, n, input.device) for s, n in zip(_sides(input, output_size), output_size, strict=True)]
    )


def _adaptive_max_pool_backward_kernel(grad: Tensor, indices: Tensor, input_shape: torch.Size, dims: int) -> Tensor:
    if dims == 1:
        shape = torch.Size((*input_shape[:-1], 1, input_shape[-1]))
        return _adaptive_max_pool_backward_kernel(grad.unsqueeze(-2), indices.unsqueeze(-2), shape, 2).squeeze(-2)
    return _ADAPTIVE_BACKWARD[dims](grad, indices, input_shape, indices)


@kernel(_adaptive_max_pool_backward_kernel)
def adaptive_max_pool_backward(grad: Tensor, indices: Tensor, input_shape: torch.Size, dims: int) -> Tensor:
    """dL/dx: each window's gradient goes to the place that its largest value came from.

    dims: how many dimensions a channel has.
    """
    return put_back(grad, indices, input_shape, dims)


@kernel(
    lambda input, kernel_size, output_size, samples: _FRACTIONAL[len(kernel_size)](
        input, kernel_size, output_size, samples
    )
)
def fractional_max_pool(
    input: Tensor, kernel_size: Sizes, output_size: Sizes, samples: Tensor
) -> tuple[Tensor, Tensor]:
    """y = the largest x in each of output_size windows of kernel_size, which lie by chance.   Graham 2014.

    samples (N, C, dims), or (1, C, dims): u from 0 to 1, for each channel of each sample and each dimension (of two:
    the second comes first). With s places, windows of k and n of them, a = (s - k) / (n - 1): window i starts at
    floor((i + u) a) - floor(u a), the last at s - k.   Returns y, indices.
    """
    order = [1, 0] if len(kernel_size) == 2 else [0, 1, 2]
    drawn = samples.reshape(*input.shape[: -len(kernel_size)], len(kernel_size))
    sides = zip(_sides(input, kernel_size), kernel_size, output_size, order, strict=True)
    return _largest(input, [_scattered(s, k, n, drawn[..., which]) for s, k, n, which in sides])


@kernel(
    lambda grad, indices, input_shape, kernel_size, output_size: _FRACTIONAL_BACKWARD[len(kernel_size)](
        grad, indices, input_shape, kernel_size, output_size, indices
    )
)
def fractional_max_pool_backward(
    grad: Tensor, indices: Tensor, input_shape: torch.Size, kernel_size: Sizes, output_size: Sizes
) -> Tensor:
    """dL/dx: each window's gradient goes to the place that its largest value came from."""
    return put_back(grad, indices, input_shape, len(kernel_size))


def fractional_samples(key: Tensor, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Numbers of `shape`, even from 0 to below 1, from `key` alone: u_i = h(b ^ h(a ^ i)) / 2^32, key (a, b).

    As many leading bits are taken as a number of `dtype` below 1 can hold, so that none is rounded up to 1.
    """
    counter = torch.arange(math.prod(shape), device=key.device)
    words = hash32(hash32(counter ^ key[0]) ^ key[1])
    bits = min(32, 1 - round(math.log2(torch.finfo(dtype).eps)))
    return ((words >> (32 - bits)).to(dtype) / 2**bits).reshape(tuple(shape))


def _sides(input: Tensor, sizes: Sizes) -> Sizes:
    return input.shape[-len(sizes) :]


def _divided(size: int, windows: int, device: torch.device) -> Tensor:
    """The places of each window, (windows, length of the longest); a shorter one has its last place several times."""
    window = torch.arange(windows, device=device).unsqueeze(1)
    start, end = window * size // windows, -(-(window + 1) * size // windows)
    longest = max((-(-(i + 1) * size // windows) - i * size // windows for i in range(windows)), default=1)
    return torch.minimum(start + torch.arange(longest, device=device), end - 1)


def _scattered(size: int, length: int, windows: int, drawn: Tensor) -> Tensor:
    """The places of each window, (..., windows, length), for drawn (...)."""
    window = torch.arange(windows, device=drawn.device)
    step = (size - length) / (windows - 1) if windows > 1 else 0.0
    u = drawn.unsqueeze(-1)
    start = ((window.to(drawn.dtype) + u) * step).to(torch.int64) - (u * step).to(torch.int64)
    start = torch.where(window == windows - 1, size - length, start)
    return start.unsqueeze(-1) + torch.arange(length, device=drawn.device)


def _largest(input: Tensor, places: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """The largest value in each window and its place.   places: for each dimension (..., windows, places of each)."""
    dims, place = len(places), torch.zeros((), dtype=torch.int64, device=input.device)
    for d, (along, side) in enumerate(zip(places, input.shape[-dims:], strict=True)):
        before, after = [1] * d, [1] * (dims - 1 - d)
        *leading, windows, length = along.shape
        place = place * side + along.reshape(*leading, *before, windows, *after, *before, length, *after)
    place = place.flatten(-dims)  # (..., windows of each dimension, all places of a window)
    place = place.expand(*input.shape[:-dims], *place.shape[-dims - 1 :])
    values = input.flatten(-dims).gather(-1, place.flatten(-dims - 1)).reshape(place.shape)
    output, which = values.max(-1)
    return output, place.gather(-1, which.unsqueeze(-1)).squeeze(-1)

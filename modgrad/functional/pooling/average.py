"""Average pooling: means over windows that lie evenly, or that divide the input as evenly as can be.

Both are linear and act on each dimension by itself: in two dimensions y = A_h x A_w^T, so dL/dx = A_h^T dL/dy A_w.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from modgrad.functional.kernel import direct, kernel
from modgrad.functional.memory import order, shape_only
from modgrad.functional.pooling.shapes import Backward, Sizes, with_row

__all__ = [
    "adaptive_avg_pool",
    "adaptive_avg_pool_backward",
    "averaging_matrix",
    "avg_pool",
    "avg_pool_backward",
    "window_matrix",
]

aten: Any = torch.ops.aten
_POOL = {2: direct(aten.avg_pool2d.default), 3: direct(aten.avg_pool3d.default)}
_BACKWARD = {2: Backward("avg_pool2d_backward"), 3: Backward("avg_pool3d_backward")}
_ADAPTIVE: dict[int, Any] = {2: torch._C._nn.adaptive_avg_pool2d, 3: torch._C._nn.adaptive_avg_pool3d}
_ADAPTIVE_BACKWARD = {
    2: direct(aten._adaptive_avg_pool2d_backward.default),
    3: direct(aten._adaptive_avg_pool3d_backward.default),
}


def avg_pool(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes,
    padding: Sizes,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None = None,
) -> Tensor:
    """y = the sum of x in each window, by how many places that has; or by divisor_override.

    count_include_pad: whether places of the padding count. With ceil_mode a last window may reach over the end of the
    padding; what lies there never counts.
    """
    if len(kernel_size) == 1:
        sizes = with_row(kernel_size, 1), with_row(stride, 1), with_row(padding, 0)
        return _POOL[2](input.unsqueeze(-2), *sizes, ceil_mode, count_include_pad, divisor_override).squeeze(-2)
    options = ceil_mode, count_include_pad, divisor_override
    return _POOL[len(kernel_size)](input, kernel_size, stride, padding, *options)


def _avg_pool_backward_kernel(
    grad: Tensor,
    input_shape: torch.Size,
    kernel_size: Sizes,
    stride: Sizes,
    padding: Sizes,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None = None,
) -> Tensor:
    options = ceil_mode, count_include_pad, divisor_override
    if len(kernel_size) == 1:
        shape = torch.Size((*input_shape[:-1], 1, input_shape[-1]))
        sizes = with_row(kernel_size, 1), with_row(stride, 1), with_row(padding, 0)
        return _avg_pool_backward_kernel(grad.unsqueeze(-2), shape, *sizes, *options).squeeze(-2)
    return _BACKWARD[len(kernel_size)](grad, grad, input_shape, kernel_size, stride, padding, *options)


@kernel(_avg_pool_backward_kernel)
def avg_pool_backward(
    grad: Tensor,
    input_shape: torch.Size,
    kernel_size: Sizes,
    stride: Sizes,
    padding: Sizes,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None = None,
) -> Tensor:
    """dL/dx: of each window's gradient each of its places gets an equal part.

    By matrices: A[i, j] = 1/n where window i, of n places, has place j. ceil_mode shows in grad's shape.
    """
    dims = len(kernel_size)
    sides = zip(input_shape[-dims:], grad.shape[-dims:], kernel_size, stride, padding, strict=True)
    counted = count_include_pad, divisor_override is None
    matrices = [window_matrix(size, windows, k, s, p, *counted, grad) for size, windows, k, s, p in sides]
    grad_input = _applied([matrix.t() for matrix in matrices], grad)
    return grad_input if divisor_override is None else grad_input / divisor_override


def _adaptive_avg_pool_kernel(input: Tensor, output_size: Sizes) -> Tensor:
    if len(output_size) == 1:
        return _ADAPTIVE[2](input.unsqueeze(-2), with_row(output_size, 1)).squeeze(-2)
    return _ADAPTIVE[len(output_size)](input, output_size)


@kernel(_adaptive_avg_pool_kernel)
def adaptive_avg_pool(input: Tensor, output_size: Sizes) -> Tensor:
    """The mean of each of output_size windows that divide the input as evenly as can be."""
    sides = zip(input.shape[-len(output_size) :], output_size, strict=True)
    return _applied([averaging_matrix(size, windows, input) for size, windows in sides], input)


def _adaptive_avg_pool_backward_kernel(grad: Tensor, input_shape: torch.Size, dims: int) -> Tensor:
    if dims == 1:
        shape = torch.Size((*input_shape[:-1], 1, input_shape[-1]))
        return _adaptive_avg_pool_backward_kernel(grad.unsqueeze(-2), shape, 2).squeeze(-2)
    return _ADAPTIVE_BACKWARD[dims](grad, shape_only(input_shape, grad, order(grad)))


@kernel(_adaptive_avg_pool_backward_kernel)
def adaptive_avg_pool_backward(grad: Tensor, input_shape: torch.Size, dims: int) -> Tensor:
    """dL/dx = A_h^T dL/dy A_w, and so on.   dims: how many dimensions after the channels."""
    sides = zip(input_shape[-dims:], grad.shape[-dims:], strict=True)
    return _applied([averaging_matrix(size, windows, grad).t() for size, windows in sides], grad)


def averaging_matrix(size: int, windows: int, like: Tensor) -> Tensor:
    """A (windows, size): row i is 1/n on the n places of window i, which runs from floor(i size / windows)
    to ceil((i + 1) size / windows)."""
    window = torch.arange(windows, device=like.device).unsqueeze(1)
    start = window * size // windows
    end = -(-(window + 1) * size // windows)
    return _rows(size, start, end, like) / (end - start).to(like.dtype)


def window_matrix(
    size: int, windows: int, length: int, stride: int, padding: int, with_padding: bool, mean: bool, like: Tensor
) -> Tensor:
    """A (windows, size): row i is 1/n on the places of window i, which are `length` from i stride - padding on.

    n: how many places the window has, of the padding too if with_padding. mean: if not, 1 in place of 1/n.
    """
    start = torch.arange(windows, device=like.device).unsqueeze(1) * stride - padding
    end = (start + length).clamp_max(size + padding)
    inside = start.clamp_min(0), end.clamp_max(size)
    rows = _rows(size, *inside, like)
    if not mean:
        return rows
    count = end - start if with_padding else inside[1] - inside[0]
    return rows / count.to(like.dtype)


def _rows(size: int, start: Tensor, end: Tensor, like: Tensor) -> Tensor:
    """1 from start to before end, else 0.   start, end (windows, 1); returns (windows, size)."""
    place = torch.arange(size, device=like.device)
    return ((place >= start) & (place < end)).to(like.dtype)


def _applied(matrices: Sequence[Tensor], input: Tensor) -> Tensor:
    """Each of the last dimensions multiplied by its matrix."""
    for place, matrix in enumerate(matrices, start=-len(matrices)):
        input = (input.transpose(place, -1) @ matrix.t()).transpose(place, -1)
    return input

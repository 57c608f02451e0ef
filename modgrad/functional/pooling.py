"""Two-dimensional pooling, each function beside its derivative.   Shapes: input (N, C, H, W)."""

from __future__ import annotations

import torch
from torch import Tensor

from modgrad.functional.kernel import kernel

__all__ = [
    "adaptive_avg_pool2d",
    "adaptive_avg_pool2d_backward",
    "averaging_matrix",
    "max_pool2d",
    "max_pool2d_backward",
]

Pair = tuple[int, int]
_max_pool2d_backward = torch.ops.aten.max_pool2d_with_indices_backward.default
_adaptive_avg_pool2d_backward = torch.ops.aten._adaptive_avg_pool2d_backward.default


def max_pool2d(
    input: Tensor, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool
) -> tuple[Tensor, Tensor]:
    """The largest value in each window, and its place in the channel counted row by row (int64)."""
    return torch.ops.aten.max_pool2d_with_indices.default(input, kernel_size, stride, padding, dilation, ceil_mode)


def _max_pool2d_backward_kernel(
    grad: Tensor,
    input: Tensor,
    indices: Tensor,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    ceil_mode: bool,
) -> Tensor:
    return _max_pool2d_backward(grad, input, kernel_size, stride, padding, dilation, ceil_mode, indices)


@kernel(_max_pool2d_backward_kernel)
def max_pool2d_backward(
    grad: Tensor,
    input: Tensor,
    indices: Tensor,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    ceil_mode: bool,
) -> Tensor:
    """dL/dx: each window's gradient goes to the place that its largest value came from; others get none."""
    flat = grad.new_zeros(input.shape).flatten(-2)
    return flat.scatter_add(-1, indices.flatten(-2), grad.flatten(-2)).reshape(input.shape)


def adaptive_avg_pool2d(input: Tensor, output_size: Pair) -> Tensor:
    """The mean of each of output_size windows that divide the image as evenly as can be: y = A_h x A_w^T."""
    return torch._C._nn.adaptive_avg_pool2d(input, output_size)


def averaging_matrix(size: int, windows: int, like: Tensor) -> Tensor:
    """A (windows, size): row i is 1/n on the n places of window i, which runs from floor(i size / windows)
    to ceil((i + 1) size / windows)."""
    place = torch.arange(size, device=like.device)
    window = torch.arange(windows, device=like.device).unsqueeze(1)
    start = window * size // windows
    end = -(-(window + 1) * size // windows)
    return ((place >= start) & (place < end)).to(like.dtype) / (end - start).to(like.dtype)


@kernel(lambda grad, input: _adaptive_avg_pool2d_backward(grad, input))
def adaptive_avg_pool2d_backward(grad: Tensor, input: Tensor) -> Tensor:
    """dL/dx = A_h^T dL/dy A_w.   grad (N, C, OH, OW); returns (N, C, H, W). Of input only the shape is used."""
    rows = averaging_matrix(input.shape[-2], grad.shape[-2], grad)
    columns = averaging_matrix(input.shape[-1], grad.shape[-1], grad)
    return rows.t() @ grad @ columns

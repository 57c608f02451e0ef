"""Images cut into patches, and patches summed up to images: each is the other's derivative.

Shapes: image (N, C, H, W), patches (N, C KH KW, L), one column for each of the L = OH OW places of the kernel; N may be
left out. kernel_size, dilation, padding and stride are pairs (vertical, horizontal).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from modgrad.functional.kernel import kernel

__all__ = ["fold", "fold_backward", "unfold", "unfold_backward"]

Pair = tuple[int, int]
_nn: Any = torch._C._nn


def _places(size: int, kernel: int, dilation: int, padding: int, stride: int, device: torch.device) -> Tensor:
    """Where in a padded dimension each place of the kernel lies, for each position of it.   (kernel, positions)."""
    positions = (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
    place = torch.arange(kernel, device=device).unsqueeze(1) * dilation
    return place + torch.arange(positions, device=device) * stride


@kernel(_nn.im2col)
def unfold(input: Tensor, kernel_size: Pair, dilation: Pair, padding: Pair, stride: Pair) -> Tensor:
    """y[n, (c, u, v), (i, j)] = x[n, c, i s + u d - p, j s + v d - p], zero outside of the image."""
    *leading, channels, height, width = input.shape
    rows, columns = (
        _places(*numbers, input.device)
        for numbers in zip((height, width), kernel_size, dilation, padding, stride, strict=True)
    )
    vertical, horizontal = padding
    padded = torch.constant_pad_nd(input, [horizontal, horizontal, vertical, vertical])
    cut = padded.index_select(-2, rows.flatten()).index_select(-1, columns.flatten())
    cut = cut.reshape(*leading, channels, *rows.shape, *columns.shape).transpose(-3, -2)  # (..., KH, KW, OH, OW)
    return cut.reshape(*leading, channels * rows.shape[0] * columns.shape[0], rows.shape[1] * columns.shape[1])


def unfold_backward(
    grad: Tensor, output_size: Pair, kernel_size: Pair, dilation: Pair, padding: Pair, stride: Pair
) -> Tensor:
    """dL/dx: each patch's gradient added up at the place that it was cut from.   output_size: (H, W) of x."""
    return fold(grad, output_size, kernel_size, dilation, padding, stride)


@kernel(_nn.col2im)
def fold(input: Tensor, output_size: Pair, kernel_size: Pair, dilation: Pair, padding: Pair, stride: Pair) -> Tensor:
    """y[n, c, h, w] = the sum of x[n, (c, u, v), (i, j)] over h = i s + u d - p, w = j s + v d - p."""
    rows, columns = (
        _places(*numbers, input.device)
        for numbers in zip(output_size, kernel_size, dilation, padding, stride, strict=True)
    )
    leading, channels = input.shape[:-2], input.shape[-2] // (rows.shape[0] * columns.shape[0])
    patches = input.reshape(*leading, channels, rows.shape[0], columns.shape[0], rows.shape[1], columns.shape[1])
    patches = patches.transpose(-3, -2).reshape(*leading, channels, rows.numel(), columns.numel())
    height, width = (size + 2 * p for size, p in zip(output_size, padding, strict=True))
    wide = input.new_zeros(*leading, channels, rows.numel(), width).index_add(-1, columns.flatten(), patches)
    padded = input.new_zeros(*leading, channels, height, width).index_add(-2, rows.flatten(), wide)
    return padded.narrow(-2, padding[0], output_size[0]).narrow(-1, padding[1], output_size[1])


def fold_backward(grad: Tensor, kernel_size: Pair, dilation: Pair, padding: Pair, stride: Pair) -> Tensor:
    """dL/dx: each patch gets the gradient of the place that it was added to."""
    return unfold(grad, kernel_size, dilation, padding, stride)

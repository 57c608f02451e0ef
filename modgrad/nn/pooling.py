"""Pooling layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from modgrad import functional
from modgrad.graph import Primitive
from modgrad.nn.arguments import Pair, pair

__all__ = ["AdaptiveAvgPool2d", "MaxPool2d"]


def _images(module: Primitive, input: Tensor) -> None:
    if input.dim() not in (3, 4):
        raise ValueError(
            f"{module} was given an input of shape {tuple(input.shape)}: expected (N, C, H, W) or (C, H, W)"
        )


class MaxPool2d(Primitive):
    """The largest value in each window.   input (N, C, H, W) or (C, H, W).

    return_indices: give also each value's place in its channel, counted row by row (int64).
    """

    def __init__(
        self,
        kernel_size: int | Pair,
        stride: int | Pair | None = None,
        padding: int | Pair = 0,
        dilation: int | Pair = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding, self.dilation = padding, dilation
        self.return_indices, self.ceil_mode = return_indices, ceil_mode
        self._windows = (pair(kernel_size), pair(self.stride), pair(padding), pair(dilation), ceil_mode)

    def forward(self, call: Any, input: Tensor) -> Any:
        _images(self, input)
        output, indices = functional.max_pool2d(input, *self._windows)
        call.save(input, indices)
        return (output, indices) if self.return_indices else output

    def backward(self, call: Any, grad: Tensor, *of_indices: None) -> Tensor:
        input, indices = call.saved
        return functional.max_pool2d_backward(grad, input, indices, *self._windows)

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class AdaptiveAvgPool2d(Primitive):
    """The mean of each of output_size windows that divide the image as evenly as can be.

    input (N, C, H, W) or (C, H, W). output_size: one number or a pair; None keeps that side.
    """

    def __init__(self, output_size: int | Sequence[int | None] | None) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, call: Any, input: Tensor) -> Tensor:
        _images(self, input)
        size = self.output_size
        wanted = tuple(size) if isinstance(size, Sequence) else (size, size)
        height, width = (have if want is None else want for want, have in zip(wanted, input.shape[-2:], strict=True))
        call.like = input.new_empty(1).expand(input.shape)  # its shape is all that backward needs
        return functional.adaptive_avg_pool2d(input, (height, width))

    def backward(self, call: Any, grad: Tensor) -> Tensor:
        return functional.adaptive_avg_pool2d_backward(grad, call.like)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"

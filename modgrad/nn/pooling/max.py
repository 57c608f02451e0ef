"""Max pooling, and its partial inverse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from modgrad import functional
from modgrad.graph.errors import describe
from modgrad.nn.arguments import SIDES, sizes
from modgrad.nn.pooling.base import Pooling, Sizes, step

__all__ = ["MaxPool1d", "MaxPool2d", "MaxPool3d", "MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d"]


class MaxPool(Pooling):
    """The largest value in each window.

    return_indices: give also each value's place in its channel, counted row by row (int64).
    """

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        dilation: Sizes = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = step(stride, kernel_size)
        self.padding, self.dilation = padding, dilation
        self.return_indices, self.ceil_mode = return_indices, ceil_mode
        self._settle()

    def _settle(self) -> Any:
        kernel_size, stride = self._sizes("kernel_size", 1), self._sizes("stride", 1)
        padding, dilation = self._sizes("padding", 0), self._sizes("dilation", 1)
        if any(p > (d * (k - 1) + 1) // 2 for k, p, d in zip(kernel_size, padding, dilation, strict=True)):
            raise ValueError(f"{self}: padding may be at most half of a window, ((kernel_size - 1) * dilation + 1) / 2")
        windows = kernel_size, stride, padding, dilation, self.ceil_mode
        self.__dict__["_settled"] = windows
        return windows

    def forward(self, call: Any, input: Tensor) -> Any:
        self._check(input)
        call.windows = self._settled or self._settle()
        call.shape = input.shape
        output, indices = self._by(functional.max_pool, input, *call.windows, not self.return_indices)
        call.save(indices)
        return (output, indices) if self.return_indices else output

    def backward(self, call: Any, grad: Tensor, *of_indices: None) -> Tensor:
        (indices,) = call.saved
        return functional.max_pool_backward(grad, indices, call.shape, *call.windows)

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(MaxPool):
    __doc__ = (MaxPool.__doc__ or "").replace("window.", "window.   input (N, C, L) or (C, L).")
    dims: ClassVar[int] = 1


class MaxPool2d(MaxPool):
    __doc__ = (MaxPool.__doc__ or "").replace("window.", "window.   input (N, C, H, W) or (C, H, W).")
    dims: ClassVar[int] = 2


class MaxPool3d(MaxPool):
    __doc__ = (MaxPool.__doc__ or "").replace("window.", "window.   input (N, C, D, H, W) or (C, D, H, W).")
    dims: ClassVar[int] = 3

    def autocast(self, input: Tensor) -> str:
        return "" if self.return_indices else "max_pool3d"


class MaxUnpool(Pooling):
    """Values put back to the places that max pooling took them from, with 0 at all others.

    layer(input, indices, output_size): indices as MaxPool gives them with return_indices; output_size, with or without
    (N, C), where several sizes of input pool to this one: a side is (size - 1) stride + kernel_size - 2 padding if not
    said, and may be less than a stride from that.
    """

    def __init__(self, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0) -> None:
        super().__init__()
        name = type(self).__name__
        self.kernel_size = sizes(kernel_size, self.dims, f"{name}(kernel_size)")
        self.stride = self.kernel_size if stride is None else sizes(stride, self.dims, f"{name}(stride)")
        self.padding = sizes(padding, self.dims, f"{name}(padding)")

    def forward(self, call: Any, input: Tensor, indices: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        self._check(input)
        if not isinstance(indices, Tensor) or indices.dtype != torch.int64 or indices.shape != input.shape:
            raise ValueError(
                f"{self} was given an input of shape {tuple(input.shape)} and as indices {describe(indices)}: expected "
                f"int64 of the input's shape, as MaxPool{self.dims}d(return_indices=True) gives them"
            )
        call.save(indices)
        return self._by(functional.max_unpool, input, indices, self._side(input, output_size))

    def backward(self, call: Any, grad: Tensor) -> tuple[Tensor, None]:
        (indices,) = call.saved
        return functional.max_unpool_backward(grad, indices, self.dims), None

    def _side(self, input: Tensor, output_size: Sequence[int] | None) -> tuple[int, ...]:
        usual = tuple(
            (size - 1) * s + k - 2 * p
            for size, k, s, p in zip(
                input.shape[-self.dims :], self.kernel_size, self.stride, self.padding, strict=True
            )
        )
        if output_size is None:
            return usual
        given = tuple(output_size)
        given = given[2:] if len(given) == self.dims + 2 else given
        if len(given) != self.dims or any(
            not u - s < g < u + s for g, u, s in zip(given, usual, self.stride, strict=True)
        ):
            raise ValueError(
                f"{self} was given output_size={tuple(output_size)}: expected ({SIDES[self.dims]}), with or without "
                f"(N, C), each less than a stride from {usual}"
            )
        return given

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(MaxUnpool):
    __doc__ = MaxUnpool.__doc__
    autocast = "max_unpool2d"
    dims: ClassVar[int] = 1


class MaxUnpool2d(MaxUnpool):
    __doc__ = MaxUnpool.__doc__
    autocast = "max_unpool2d"
    dims: ClassVar[int] = 2


class MaxUnpool3d(MaxUnpool):
    __doc__ = MaxUnpool.__doc__
    autocast = "max_unpool3d"
    dims: ClassVar[int] = 3

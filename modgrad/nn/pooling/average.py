"""Average pooling."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from modgrad import functional
from modgrad.nn.arguments import sizes
from modgrad.nn.pooling.base import Pooling, Sizes, step

__all__ = ["AvgPool1d", "AvgPool2d", "AvgPool3d"]


class AvgPool(Pooling):
    """The mean of each window.

    count_include_pad: whether the zeros of the padding count among a window's places.
    divisor_override: what to divide each sum by, in place of the number of places.
    """

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = step(stride, kernel_size)
        self.padding, self.ceil_mode, self.count_include_pad = padding, ceil_mode, count_include_pad
        self.divisor_override = divisor_override
        self._settle()

    def _settle(self) -> Any:
        kernel_size, stride, padding = (
            self._sizes("kernel_size", 1),
            self._sizes("stride", 1),
            self._sizes("padding", 0),
        )
        if any(p > k // 2 for k, p in zip(kernel_size, padding, strict=True)):
            raise ValueError(f"{self}: padding may be at most half of kernel_size")
        if self.divisor_override == 0:
            raise ValueError(f"{type(self).__name__}(divisor_override=0): expected a number to divide by")
        windows = kernel_size, stride, padding, self.ceil_mode, self.count_include_pad, self.divisor_override
        self.__dict__["_settled"] = windows
        return windows

    def forward(self, call: Any, input: Tensor) -> Tensor:
        self._check(input)
        call.windows = self._settled or self._settle()
        call.shape = input.shape
        return self._by(functional.avg_pool, input, *call.windows)

    def backward(self, call: Any, grad: Tensor) -> Tensor:
        return functional.avg_pool_backward(grad, call.shape, *call.windows)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool1d(AvgPool):
    """The mean of each window.   input (N, C, L) or (C, L).

    count_include_pad: whether the zeros of the padding count among a window's places.
    """

    dims: ClassVar[int] = 1

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__(
            sizes(kernel_size, 1, "AvgPool1d(kernel_size)"),
            sizes(step(stride, kernel_size), 1, "AvgPool1d(stride)"),
            sizes(padding, 1, "AvgPool1d(padding)"),
            ceil_mode,
            count_include_pad,
        )


class AvgPool2d(AvgPool):
    __doc__ = (AvgPool.__doc__ or "").replace("window.", "window.   input (N, C, H, W) or (C, H, W).")
    dims: ClassVar[int] = 2


class AvgPool3d(AvgPool):
    __doc__ = (AvgPool.__doc__ or "").replace("window.", "window.   input (N, C, D, H, W) or (C, D, H, W).")
    autocast = "avg_pool3d"
    dims: ClassVar[int] = 3

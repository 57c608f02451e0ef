"""Pooling by windows that divide the input as evenly as can be, to an output of a given size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor

from modgrad import functional
from modgrad.nn.arguments import sizes
from modgrad.nn.pooling.base import Pooling

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
]


class Adaptive(Pooling):
    """output_size: one number or one for each dimension; None keeps that side."""

    output_size: Any

    def _sides(self, input: Tensor) -> tuple[int, ...]:
        self._check(input)
        wanted = sizes(self.output_size, self.dims, f"{type(self).__name__}(output_size)")
        sides = input.shape[-self.dims :]
        return tuple(have if want is None else want for want, have in zip(wanted, sides, strict=True))

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool(Adaptive):
    """The mean of each of output_size windows that divide the input as evenly as can be.

    output_size: one number or one for each dimension; None keeps that side.
    """

    def __init__(self, output_size: int | Sequence[int | None] | None) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, call: Any, input: Tensor) -> Tensor:
        call.shape = input.shape
        return self._by(functional.adaptive_avg_pool, input, self._sides(input))

    def backward(self, call: Any, grad: Tensor) -> Tensor:
        return functional.adaptive_avg_pool_backward(grad, call.shape, self.dims)


class AdaptiveAvgPool1d(AdaptiveAvgPool):
    __doc__ = (AdaptiveAvgPool.__doc__ or "").replace("be.", "be.   input (N, C, L) or (C, L).")
    dims: ClassVar[int] = 1


class AdaptiveAvgPool2d(AdaptiveAvgPool):
    __doc__ = (AdaptiveAvgPool.__doc__ or "").replace("be.", "be.   input (N, C, H, W) or (C, H, W).")
    dims: ClassVar[int] = 2


class AdaptiveAvgPool3d(AdaptiveAvgPool):
    __doc__ = (AdaptiveAvgPool.__doc__ or "").replace("be.", "be.   input (N, C, D, H, W) or (C, D, H, W).")
    autocast = "adaptive_avg_pool3d"
    dims: ClassVar[int] = 3


class AdaptiveMaxPool(Adaptive):
    """The largest value in each of output_size windows that divide the input as evenly as can be.

    output_size: one number or one for each dimension; None keeps that side.
    return_indices: give also each value's place in its channel, counted row by row (int64).
    """

    def __init__(self, output_size: int | Sequence[int | None] | None, return_indices: bool = False) -> None:
        super().__init__()
        self.output_size, self.return_indices = output_size, return_indices

    def forward(self, call: Any, input: Tensor) -> Any:
        call.shape = input.shape
        output, indices = self._by(functional.adaptive_max_pool, input, self._sides(input))
        call.save(indices)
        return (output, indices) if self.return_indices else output

    def backward(self, call: Any, grad: Tensor, *of_indices: None) -> Tensor:
        (indices,) = call.saved
        return functional.adaptive_max_pool_backward(grad, indices, call.shape, self.dims)


class AdaptiveMaxPool1d(AdaptiveMaxPool):
    __doc__ = (AdaptiveMaxPool.__doc__ or "").replace("be.", "be.   input (N, C, L) or (C, L).")
    dims: ClassVar[int] = 1


class AdaptiveMaxPool2d(AdaptiveMaxPool):
    __doc__ = (AdaptiveMaxPool.__doc__ or "").replace("be.", "be.   input (N, C, H, W) or (C, H, W).")
    dims: ClassVar[int] = 2


class AdaptiveMaxPool3d(AdaptiveMaxPool):
    __doc__ = (AdaptiveMaxPool.__doc__ or "").replace("be.", "be.   input (N, C, D, H, W) or (C, D, H, W).")
    autocast = "adaptive_max_pool3d"
    dims: ClassVar[int] = 3

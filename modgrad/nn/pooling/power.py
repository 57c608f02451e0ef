"""Power-average pooling: p-norms of windows."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from torch import Tensor

from modgrad import functional
from modgrad.graph import Module
from modgrad.nn.arguments import sizes
from modgrad.nn.pooling.base import Pooling, Sizes
from modgrad.nn.pooling.max import MaxPool, MaxPool1d, MaxPool2d, MaxPool3d

__all__ = ["LPPool1d", "LPPool2d", "LPPool3d"]


class PowerPool(Pooling):
    """y = (sum of x^p over each window)^(1/p), for the finite p that a layer has."""

    def __init__(self, owner: LPPool) -> None:
        super().__init__()
        self.dims = owner.dims  # type: ignore[misc]
        self._name = repr(owner)
        kernel_size = sizes(owner.kernel_size, self.dims, f"{owner}: kernel_size")
        stride = kernel_size if owner.stride is None else sizes(owner.stride, self.dims, f"{owner}: stride")
        self._how = float(owner.norm_type), kernel_size, stride, owner.ceil_mode

    def forward(self, call: Any, input: Tensor) -> Tensor:
        self._check(input)
        output = self._by(functional.lp_pool, input, *self._how)
        call.save(input, output)
        return output

    def backward(self, call: Any, grad: Tensor) -> Tensor:
        input, output = call.saved
        return functional.lp_pool_backward(grad, input, output, *self._how)

    def autocast(self, input: Tensor) -> str:
        return f"lp_pool{self.dims}d"

    def __repr__(self) -> str:
        return self._name


class LPPool(Module):
    """y = (sum of x^p over each window)^(1/p), with p = norm_type; the largest |x| for p = inf, the smallest for -inf.

    Where a window's sum is 0 its gradient is taken to be 0. With ceil_mode a window that reaches over the end is made
    up for the places that it lacks, by the mean of those it has.
    """

    dims: ClassVar[int]
    largest: ClassVar[type[MaxPool]]

    def __init__(
        self, norm_type: float, kernel_size: Sizes, stride: Sizes | None = None, ceil_mode: bool = False
    ) -> None:
        super().__init__()
        self.norm_type, self.kernel_size, self.stride, self.ceil_mode = norm_type, kernel_size, stride, ceil_mode
        if norm_type == 0:
            raise ValueError(f"{type(self).__name__}(norm_type=0): there is no 0th root, expected another number")

    def forward(self, input: Any) -> Any:
        if math.isinf(self.norm_type):
            pool = self.largest(self.kernel_size, self.stride, ceil_mode=self.ceil_mode)
            return pool(abs(input)) if self.norm_type > 0 else -pool(-abs(input))
        return PowerPool(self)(input)

    def extra_repr(self) -> str:
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}"
        )


class LPPool1d(LPPool):
    __doc__ = (LPPool.__doc__ or "").replace("-inf.", "-inf.\n\n    input (N, C, L) or (C, L).")
    dims: ClassVar[int] = 1
    largest: ClassVar[type[MaxPool]] = MaxPool1d


class LPPool2d(LPPool):
    __doc__ = (LPPool.__doc__ or "").replace("-inf.", "-inf.\n\n    input (N, C, H, W) or (C, H, W).")
    dims: ClassVar[int] = 2
    largest: ClassVar[type[MaxPool]] = MaxPool2d


class LPPool3d(LPPool):
    __doc__ = (LPPool.__doc__ or "").replace("-inf.", "-inf.\n\n    input (N, C, D, H, W) or (C, D, H, W).")
    dims: ClassVar[int] = 3
    largest: ClassVar[type[MaxPool]] = MaxPool3d

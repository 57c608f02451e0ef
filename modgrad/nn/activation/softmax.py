"""Softmax and its kind, along one dimension."""

from __future__ import annotations

import warnings
from typing import Any

from torch import Tensor

from modgrad import functional
from modgrad.graph import Primitive

__all__ = ["LogSoftmax", "Softmax", "Softmax2d", "Softmin"]


class _AlongDim(Primitive):
    """A function along one dimension, whose derivative is told by its output."""

    function: Any  # of (input, dim)
    derivative: Any  # of (grad, output, dim)

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, call: Any, input: Tensor) -> Tensor:
        dim = self.dim
        if dim is None:
            dim = 0 if input.dim() in (0, 1, 3) else 1
            warnings.warn(f"{self}: the dimension was chosen to be {dim}; say which, as dim={dim}", stacklevel=3)
        output = type(self).function(input, dim)
        call.dim = dim
        call.save(output)
        return output

    def backward(self, call: Any, grad: Tensor) -> Tensor:
        return type(self).derivative(grad, *call.saved, call.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Softmax(_AlongDim):
    """y_i = e^x_i / sum_j e^x_j along `dim`."""

    autocast = "softmax"
    function = staticmethod(functional.softmax)
    derivative = staticmethod(functional.softmax_backward)


class Softmin(_AlongDim):
    """y_i = e^-x_i / sum_j e^-x_j along `dim`."""

    autocast = "softmax"
    function = staticmethod(functional.softmin)
    derivative = staticmethod(functional.softmin_backward)


class LogSoftmax(_AlongDim):
    """y_i = x_i - log sum_j e^x_j along `dim`."""

    autocast = "log_softmax"
    function = staticmethod(functional.log_softmax)
    derivative = staticmethod(functional.log_softmax_backward)


class Softmax2d(_AlongDim):
    """Softmax over the channels at each place of an image.   input (N, C, H, W) or (C, H, W)."""

    autocast = "softmax"
    function = staticmethod(functional.softmax)
    derivative = staticmethod(functional.softmax_backward)

    def __init__(self) -> None:
        super().__init__(-3)

    def forward(self, call: Any, input: Tensor) -> Tensor:
        if input.dim() not in (3, 4):
            raise ValueError(
                f"{self} was given an input of shape {tuple(input.shape)}: expected (N, C, H, W) or (C, H, W)"
            )
        return super().forward(call, input)

    def extra_repr(self) -> str:
        return ""

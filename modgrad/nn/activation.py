"""Activation layers."""

from __future__ import annotations

import warnings
from typing import Any

from torch import Tensor

from modgrad import functional
from modgrad.graph import Call, Primitive

__all__ = ["GELU", "LogSoftmax", "ReLU", "Sigmoid", "Softmax", "Tanh"]


class _OfOutput(Primitive):
    """An elementwise function whose derivative is told by its output, which is all that is kept."""

    function: Any  # of the input
    derivative: Any  # of (grad, output)
    derivative_: Any  # the same, written into grad

    def forward(self, call: Call, input: Tensor) -> Tensor:
        output = self.function(input)
        call.save(output)
        return output

    def backward(self, call: Call, grad: Tensor) -> Tensor:
        (output,) = call.saved
        return self.derivative(grad, output)

    def backward_(self, call: Call, grad: Tensor) -> Tensor:
        (output,) = call.saved
        return self.derivative_(grad, output)


class ReLU(_OfOutput):
    """y = max(x, 0). `inplace` is taken for PyTorch's sake and has no effect: a Variable is never changed in place."""

    function = staticmethod(functional.relu)
    derivative = staticmethod(functional.relu_backward)
    derivative_ = staticmethod(functional.relu_backward_)

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace


class Tanh(_OfOutput):
    """y = tanh(x)."""

    function = staticmethod(functional.tanh)
    derivative = staticmethod(functional.tanh_backward)
    derivative_ = staticmethod(functional.tanh_backward_)


class Sigmoid(_OfOutput):
    """y = 1 / (1 + e^-x)."""

    function = staticmethod(functional.sigmoid)
    derivative = staticmethod(functional.sigmoid_backward)
    derivative_ = staticmethod(functional.sigmoid_backward_)


class GELU(Primitive):
    """y = x Phi(x), with Phi the normal distribution function; approximate: "none", or "tanh" for one by tanh."""

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        if approximate not in ("none", "tanh"):
            raise ValueError(f'GELU(approximate={approximate!r}): expected "none" or "tanh"')
        self.approximate = approximate

    def forward(self, call: Call, input: Tensor) -> Tensor:
        call.save(input)
        return functional.gelu(input, self.approximate)

    def backward(self, call: Call, grad: Tensor) -> Tensor:
        (input,) = call.saved
        return functional.gelu_backward(grad, input, self.approximate)

    def backward_(self, call: Call, grad: Tensor) -> Tensor:
        (input,) = call.saved
        return functional.gelu_backward_(grad, input, self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class _AlongDim(Primitive):
    """A function along one dimension, whose derivative is told by its output."""

    function: Any  # of (input, dim)
    derivative: Any  # of (grad, output, dim)

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, call: Call, input: Tensor) -> Tensor:
        dim = self.dim
        if dim is None:
            dim = 0 if input.dim() in (0, 1, 3) else 1
            warnings.warn(f"{self}: the dimension was chosen to be {dim}; say which, as dim={dim}", stacklevel=3)
        output = type(self).function(input, dim)
        call.dim = dim  # type: ignore[attr-defined]
        call.save(output)
        return output

    def backward(self, call: Any, grad: Tensor) -> Tensor:
        return type(self).derivative(grad, *call.saved, call.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Softmax(_AlongDim):
    """y_i = e^x_i / sum_j e^x_j along `dim`."""

    function = staticmethod(functional.softmax)
    derivative = staticmethod(functional.softmax_backward)


class LogSoftmax(_AlongDim):
    """y_i = x_i - log sum_j e^x_j along `dim`."""

    function = staticmethod(functional.log_softmax)
    derivative = staticmethod(functional.log_softmax_backward)

"""Smooth activations: of sigmoid, tanh and the normal distribution, and the gate."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from modgrad import functional
from modgrad.graph import Call, Primitive
from modgrad.nn.activation.base import InPlace, OfInput, OfOutput, WithOptions

__all__ = [
    "GELU",
    "GLU",
    "LogSigmoid",
    "Mish",
    "SiLU",
    "Sigmoid",
    "Softplus",
    "Softsign",
    "Tanh",
    "Tanhshrink",
]


class Tanh(OfOutput):
    """y = tanh(x)."""

    function = staticmethod(functional.tanh)
    derivative = staticmethod(functional.tanh_backward)
    derivative_ = staticmethod(functional.tanh_backward_)


class Sigmoid(OfOutput):
    """y = 1 / (1 + e^-x)."""

    function = staticmethod(functional.sigmoid)
    derivative = staticmethod(functional.sigmoid_backward)
    derivative_ = staticmethod(functional.sigmoid_backward_)


class LogSigmoid(OfInput):
    """y = ln sigmoid(x)."""

    function = staticmethod(functional.logsigmoid)
    derivative = staticmethod(functional.logsigmoid_backward)


class Softplus(WithOptions):
    """y = ln(1 + e^(beta x)) / beta; x itself where beta x > threshold."""

    autocast = "softplus"
    function = staticmethod(functional.softplus)
    derivative = staticmethod(functional.softplus_backward)
    derivative_ = staticmethod(functional.softplus_backward_)
    options = ("beta", "threshold")

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta, self.threshold = beta, threshold


class SiLU(InPlace, OfInput):
    """y = x sigmoid(x), called swish too."""

    function = staticmethod(functional.silu)
    derivative = staticmethod(functional.silu_backward)
    derivative_ = staticmethod(functional.silu_backward_)


class Mish(InPlace, OfInput):
    """y = x tanh(ln(1 + e^x))."""

    function = staticmethod(functional.mish)
    derivative = staticmethod(functional.mish_backward)


class Softsign(OfInput):
    """y = x / (1 + |x|)."""

    function = staticmethod(functional.softsign)
    derivative = staticmethod(functional.softsign_backward)


class Tanhshrink(OfOutput):
    """y = x - tanh(x). Keeps tanh(x)."""

    derivative = staticmethod(functional.tanhshrink_backward)

    def forward(self, call: Call, input: Tensor) -> Tensor:
        output, tanh = functional.tanhshrink(input)
        call.save(tanh)
        return output


class GELU(WithOptions):
    """y = x Phi(x), with Phi the normal distribution function; approximate: "none", or "tanh" for one by tanh."""

    function = staticmethod(functional.gelu)
    derivative = staticmethod(functional.gelu_backward)
    derivative_ = staticmethod(functional.gelu_backward_)
    options = ("approximate",)

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        if approximate not in ("none", "tanh"):
            raise ValueError(f'GELU(approximate={approximate!r}): expected "none" or "tanh"')
        self.approximate = approximate


class GLU(Primitive):
    """y = a sigmoid(b), with a and b the halves of x along `dim`: a is let through as far as b says."""

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, call: Any, input: Tensor) -> Tensor:
        dim = self.dim
        if not -input.dim() <= dim < input.dim() or input.shape[dim] % 2:
            raise ValueError(
                f"{self} was given an input of shape {tuple(input.shape)}: "
                f"expected a dimension {dim} of an even size, which is split in two halves"
            )
        call.dim = dim
        call.save(input)
        return functional.glu(input, dim)

    def backward(self, call: Any, grad: Tensor) -> Tensor:
        (input,) = call.saved
        return functional.glu_backward(grad, input, call.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"

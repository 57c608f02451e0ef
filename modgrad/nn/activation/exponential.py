"""Exponential linear units."""

from __future__ import annotations

from modgrad import functional
from modgrad.nn.activation.base import InPlace, OfInput, WithOptions

__all__ = ["CELU", "ELU", "SELU"]


class ELU(WithOptions):
    """y = x where x > 0, else alpha (e^x - 1)."""

    function = staticmethod(functional.elu)
    derivative = staticmethod(functional.elu_backward)
    derivative_ = staticmethod(functional.elu_backward_)
    options = ("alpha",)

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha, self.inplace = alpha, inplace


class CELU(WithOptions):
    """y = x where x > 0, else alpha (e^(x / alpha) - 1)."""

    function = staticmethod(functional.celu)
    derivative = staticmethod(functional.celu_backward)
    derivative_ = staticmethod(functional.celu_backward_)
    options = ("alpha",)

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        if alpha == 0:
            raise ValueError("CELU(alpha=0): x / alpha is taken; expected another number")
        self.alpha, self.inplace = alpha, inplace


class SELU(InPlace, OfInput):
    """y = scale x where x > 0, else scale alpha (e^x - 1), with the alpha and scale that keep mean 0 and variance 1."""

    function = staticmethod(functional.selu)
    derivative = staticmethod(functional.selu_backward)
    derivative_ = staticmethod(functional.selu_backward_)

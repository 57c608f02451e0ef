"""Exponential linear units: x above 0, an exponential below it. Three of a family, each beside its derivative.

They are told by their input: of the output the derivative is y + alpha, in which for x << 0 nothing exact is left.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from modgrad.functional.kernel import direct, in_place, kernel

__all__ = [
    "SELU_ALPHA",
    "SELU_SCALE",
    "celu",
    "celu_backward",
    "celu_backward_",
    "elu",
    "elu_backward",
    "elu_backward_",
    "selu",
    "selu_backward",
    "selu_backward_",
]

aten = torch.ops.aten
_elu: Any = torch._C._nn.elu
_elu_backward = direct(aten.elu_backward.default)
_elu_backward_out = direct(aten.elu_backward.grad_input)

# With these a normal distribution of mean 0 and variance 1 keeps both.   Klambauer et al. 2017, eq. 2 and 14.
SELU_ALPHA, SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


@kernel(lambda input, alpha=1.0, scale=1.0, rate=1.0: _elu(input, alpha, scale, rate))
def elu(input: Tensor, alpha: float = 1.0, scale: float = 1.0, rate: float = 1.0) -> Tensor:
    """y = x where x > 0, else alpha (e^x - 1).   Clevert et al. 2016, eq. 15.

    For the family: y = scale x, or scale alpha (e^(rate x) - 1).
    """
    return scale * torch.where(input > 0, input, alpha * torch.expm1(rate * input))


@kernel(lambda grad, input, alpha=1.0, scale=1.0, rate=1.0: _elu_backward(grad, alpha, scale, rate, False, input))
def elu_backward(grad: Tensor, input: Tensor, alpha: float = 1.0, scale: float = 1.0, rate: float = 1.0) -> Tensor:
    """dL/dx = dL/dy where x > 0, else alpha e^x dL/dy.   grad, input: alike.

    For the family: scale dL/dy, or scale alpha rate e^(rate x) dL/dy.
    """
    return scale * torch.where(input > 0, grad, alpha * rate * torch.exp(rate * input) * grad)


def _out(grad: Tensor, input: Tensor, alpha: float, scale: float, rate: float, grad_input: Tensor) -> Tensor:
    return _elu_backward_out(grad, alpha, scale, rate, False, input, grad_input=grad_input)


elu_backward_ = in_place(
    elu_backward,
    lambda grad, input, alpha=1.0, scale=1.0, rate=1.0, *, grad_input: _out(
        grad, input, alpha, scale, rate, grad_input
    ),
)


def celu(input: Tensor, alpha: float = 1.0) -> Tensor:
    """y = x where x > 0, else alpha (e^(x / alpha) - 1), whose slope at 0 is 1.   alpha not 0.   Barron 2017, eq. 2."""
    return elu(input, alpha, 1.0, 1 / alpha)


def celu_backward(grad: Tensor, input: Tensor, alpha: float = 1.0) -> Tensor:
    """dL/dx = dL/dy where x > 0, else e^(x / alpha) dL/dy.   grad, input: alike."""
    return elu_backward(grad, input, alpha, 1.0, 1 / alpha)


def celu_backward_(grad: Tensor, input: Tensor, alpha: float = 1.0) -> Tensor:
    """`celu_backward`, written into grad."""
    return elu_backward_(grad, input, alpha, 1.0, 1 / alpha)


def selu(input: Tensor) -> Tensor:
    """y = scale x where x > 0, else scale alpha (e^x - 1), with SELU_SCALE and SELU_ALPHA.   Klambauer et al. 2017."""
    return elu(input, SELU_ALPHA, SELU_SCALE)


def selu_backward(grad: Tensor, input: Tensor) -> Tensor:
    """dL/dx = scale dL/dy where x > 0, else scale alpha e^x dL/dy.   grad, input: alike."""
    return elu_backward(grad, input, SELU_ALPHA, SELU_SCALE)


def selu_backward_(grad: Tensor, input: Tensor) -> Tensor:
    """`selu_backward`, written into grad."""
    return elu_backward_(grad, input, SELU_ALPHA, SELU_SCALE)

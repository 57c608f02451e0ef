"""Circular and hyperbolic functions, their inverses, angles; each beside its derivative."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = [
    "acos",
    "acos_backward",
    "acosh",
    "acosh_backward",
    "asin",
    "asin_backward",
    "asinh",
    "asinh_backward",
    "atan",
    "atan2",
    "atan2_grad_input",
    "atan2_grad_other",
    "atan_backward",
    "atanh",
    "atanh_backward",
    "cos",
    "cos_backward",
    "cosh",
    "cosh_backward",
    "deg2rad",
    "deg2rad_backward",
    "hypot",
    "hypot_grad_input",
    "hypot_grad_other",
    "rad2deg",
    "rad2deg_backward",
    "sin",
    "sin_backward",
    "sinc",
    "sinc_backward",
    "sinh",
    "sinh_backward",
    "tan",
    "tan_backward",
]


def sin(input: Tensor) -> Tensor:
    """y = sin x."""
    return torch.sin(input)


def sin_backward(grad: Tensor, input: Tensor) -> Tensor:
    """dL/dx = dL/dy * cos x."""
    return grad * torch.cos(input)


def cos(input: Tensor) -> Tensor:
    """y = cos x."""
    return torch.cos(input)


def cos_backward(grad: Tensor, input: Tensor) -> Tensor:
    """dL/dx = -dL/dy * sin x."""
    return grad * -torch.sin(input)


def tan(input: Tensor) -> Tensor:
    """y = tan x."""
    return torch.tan(input)


def tan_backward(grad: Tensor, output: Tensor) -> Tensor:
    """dL/dx = dL/dy * (1 + y^2)."""
    return grad * (1 + output**2)


def asin(input: Tensor) -> Tensor:
    """y = arcsin x."""
    return torch.asin(input)


def asin_backward(grad: Tensor, input: Tensor) -> Tensor:
    """dL/dx = dL/dy / sqrt(1 - x^2)."""
    return grad * torch.rsqrt(1 - input * input)


def acos(input: Tensor) -> Tensor:
    """y = arccos x."""
    return torch.acos(input)


def acos_backward(grad: Tensor, input: Tensor) -> Tensor:
    """dL/dx = -dL/dy / sqrt(1 - x^2)."""
    return grad * -torch.rsqrt(1 - input * input)


def atan(input: Tensor) -> Tensor:
    """y = arctan x."""
    return torch.atan(input)


def atan_backward(grad: Tensor, input: Tensor) -> Tensor:
    """dL/dx = dL/dy / (1 + x^2)."""
    return grad / (input * input + 1)


def sinh(input: Tensor) -> Tensor:
    """y = (e^x - e^-x) / 2."""
    return torch.sinh(input)


def sinh_backward(grad: Tensor, input: Tensor) -> Tensor:
    """dL/dx = dL/dy * cosh x."""
    return grad * torch.cosh(input)


def cosh(input: Tensor) -> Tensor:
    """y = (e^x + e^-x) / 2."""
    return torch.cosh(input)


def cosh_backward(grad: Tensor, input: Tensor) -> Tensor:
    """dL/dx = dL/dy * sinh x."""
    return grad * torch.sinh(input)


def asinh(input: Tensor) -> Tensor:
    """y = arsinh x."""
    return torch.asinh(input)


def asinh_backward(grad: Tensor, input: Tensor) -> Tensor:
    """dL/dx = dL/dy / sqrt(x^2 + 1)."""
    return grad * torch.rsqrt(input * input + 1)


def acosh(input: Tensor) -> Tensor:
    """y = arcosh x."""
    return torch.acosh(input)


def acosh_backward(grad: Tensor, input: Tensor) -> Tensor:
    """dL/dx = dL/dy / sqrt(x^2 - 1)."""
    return grad * torch.rsqrt(input * input - 1)


def atanh(input: Tensor) -> Tensor:
    """y = artanh x."""
    return torch.atanh(input)


def atanh_backward(grad: Tensor, input: Tensor) -> Tensor:
    """dL/dx = dL/dy / (1 - x^2)."""
    return grad / (1 - input * input)


def sinc(input: Tensor) -> Tensor:
    """y = sin(pi x) / (pi x), 1 at x = 0."""
    return torch.sinc(input)


def sinc_backward(grad: Tensor, input: Tensor) -> Tensor:
    """dL/dx = dL/dy * (pi x cos(pi x) - sin(pi x)) / (pi x^2), 0 at x = 0."""
    angle = math.pi * input
    slope = (angle * torch.cos(angle) - torch.sin(angle)) / (angle * input)
    return torch.where(input == 0, 0, grad * slope)


def deg2rad(input: Tensor) -> Tensor:
    """y = pi x / 180."""
    return torch.deg2rad(input)


def deg2rad_backward(grad: Tensor) -> Tensor:
    """dL/dx = dL/dy * pi / 180."""
    return grad * (math.pi / 180)


def rad2deg(input: Tensor) -> Tensor:
    """y = 180 x / pi."""
    return torch.rad2deg(input)


def rad2deg_backward(grad: Tensor) -> Tensor:
    """dL/dx = dL/dy * 180 / pi."""
    return grad * (180 / math.pi)


def atan2(input: Tensor, other: Tensor) -> Tensor:
    """The angle of the point (b, a) from the first axis: y = arctan(a / b) and the quadrant."""
    return torch.atan2(input, other)


def atan2_grad_input(grad: Tensor, input: Tensor, other: Tensor) -> Tensor:
    """dL/da = dL/dy * b / (a^2 + b^2), 0 at the origin."""
    return grad * (other * _reciprocal_square(input, other))


def atan2_grad_other(grad: Tensor, input: Tensor, other: Tensor) -> Tensor:
    """dL/db = -dL/dy * a / (a^2 + b^2), 0 at the origin."""
    return grad * (-input * _reciprocal_square(input, other))


def _reciprocal_square(input: Tensor, other: Tensor) -> Tensor:
    """1 / (a^2 + b^2), 0 at the origin."""
    square = input * input + other * other
    return torch.where(square == 0, 0, torch.reciprocal(square))


def hypot(input: Tensor, other: Tensor) -> Tensor:
    """y = sqrt(a^2 + b^2), without overflow on the way."""
    return torch.hypot(input, other)


def hypot_grad_input(grad: Tensor, input: Tensor, output: Tensor) -> Tensor:
    """dL/da = dL/dy * a / y."""
    return grad * input / output


def hypot_grad_other(grad: Tensor, other: Tensor, output: Tensor) -> Tensor:
    """dL/db = dL/dy * b / y."""
    return grad * other / output

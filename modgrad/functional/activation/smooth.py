"""Smooth activations, of sigmoid, tanh and the normal distribution. Each beside its derivative."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from modgrad.functional.kernel import direct, in_place, kernel

__all__ = [
    "gelu",
    "gelu_backward",
    "gelu_backward_",
    "glu",
    "glu_backward",
    "logsigmoid",
    "logsigmoid_backward",
    "mish",
    "mish_backward",
    "sigmoid",
    "sigmoid_backward",
    "sigmoid_backward_",
    "silu",
    "silu_backward",
    "silu_backward_",
    "softplus",
    "softplus_backward",
    "softplus_backward_",
    "softsign",
    "softsign_backward",
    "tanh",
    "tanh_backward",
    "tanh_backward_",
    "tanhshrink",
    "tanhshrink_backward",
]

aten = torch.ops.aten
_nn: Any = torch._C._nn


def tanh(input: Tensor) -> Tensor:
    """y = (e^x - e^-x) / (e^x + e^-x)."""
    return torch.tanh(input)


@kernel(aten.tanh_backward.default)
def tanh_backward(grad: Tensor, output: Tensor) -> Tensor:
    """dL/dx = dL/dy * (1 - y^2).   grad, output: alike."""
    return grad * (1 - output * output)


tanh_backward_ = in_place(tanh_backward, aten.tanh_backward.grad_input)


def sigmoid(input: Tensor) -> Tensor:
    """y = 1 / (1 + e^-x)."""
    return torch.sigmoid(input)


@kernel(aten.sigmoid_backward.default)
def sigmoid_backward(grad: Tensor, output: Tensor) -> Tensor:
    """dL/dx = dL/dy * y (1 - y).   grad, output: alike."""
    return grad * (1 - output) * output


sigmoid_backward_ = in_place(sigmoid_backward, aten.sigmoid_backward.grad_input)


@kernel(_nn.log_sigmoid)
def logsigmoid(input: Tensor) -> Tensor:
    """y = ln sigmoid(x) = -ln(1 + e^-x)."""
    return torch.clamp(input, max=0) - torch.log1p(torch.exp(-torch.abs(input)))


def _logsigmoid_backward_kernel(grad: Tensor, input: Tensor) -> Tensor:
    if (
        grad.is_cpu
    ):  # where the kernel asks for e^-|x| besides: to keep that takes memory, to compute it all of its gain
        return NotImplemented
    return aten.log_sigmoid_backward(grad, input, grad.new_empty(0))


@kernel(_logsigmoid_backward_kernel)
def logsigmoid_backward(grad: Tensor, input: Tensor) -> Tensor:
    """dL/dx = dL/dy sigmoid(-x).   grad, input: alike."""
    return grad * torch.sigmoid(-input)


@kernel(_nn.softplus)
def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """y = ln(1 + e^(beta x)) / beta; x itself where beta x > threshold.   Dugas et al. 2001."""
    scaled = beta * input
    smooth = torch.clamp(scaled, min=0) + torch.log1p(torch.exp(-torch.abs(scaled)))  # e^x could be too large
    return torch.where(scaled > threshold, input, smooth / beta)


@kernel(aten.softplus_backward.default)
def softplus_backward(grad: Tensor, input: Tensor, beta: float, threshold: float) -> Tensor:
    """dL/dx = dL/dy sigmoid(beta x); dL/dy where beta x > threshold.   grad, input: alike."""
    scaled = beta * input
    return torch.where(scaled > threshold, grad, grad * torch.sigmoid(scaled))


softplus_backward_ = in_place(softplus_backward, aten.softplus_backward.grad_input)


@kernel(_nn.silu)
def silu(input: Tensor) -> Tensor:
    """y = x sigmoid(x), called swish too.   Hendrycks & Gimpel 2016; Elfwing et al. 2017."""
    return input * torch.sigmoid(input)


@kernel(aten.silu_backward.default)
def silu_backward(grad: Tensor, input: Tensor) -> Tensor:
    """dL/dx = dL/dy s (1 + x (1 - s)), with s = sigmoid(x).   grad, input: alike."""
    s = torch.sigmoid(input)
    return grad * s * (1 + input * (1 - s))


silu_backward_ = in_place(silu_backward, aten.silu_backward.grad_input)


@kernel(_nn.mish)
def mish(input: Tensor) -> Tensor:
    """y = x tanh(ln(1 + e^x)).   Misra 2019, eq. 1."""
    return input * torch.tanh(softplus(input))


@kernel(aten.mish_backward.default)
def mish_backward(grad: Tensor, input: Tensor) -> Tensor:
    """dL/dx = dL/dy (t + x (1 - t^2) sigmoid(x)), with t = tanh(ln(1 + e^x)).   grad, input: alike."""
    t = torch.tanh(softplus(input))
    return grad * (t + input * (1 - t * t) * torch.sigmoid(input))


def softsign(input: Tensor) -> Tensor:
    """y = x / (1 + |x|).   Bergstra et al. 2009; Glorot & Bengio 2010."""
    return input / (1 + torch.abs(input))


def softsign_backward(grad: Tensor, input: Tensor) -> Tensor:
    """dL/dx = dL/dy / (1 + |x|)^2.   grad, input: alike.

    (1 - |y|)^2 is the same, but for a large x nothing exact is left in 1 - |y|.
    """
    d = 1 + torch.abs(input)
    return grad / d / d


def tanhshrink(input: Tensor) -> tuple[Tensor, Tensor]:
    """y = x - tanh(x). Returns y and tanh(x), of which the derivative is made."""
    t = torch.tanh(input)
    return input - t, t


def tanhshrink_backward(grad: Tensor, tanh: Tensor) -> Tensor:
    """dL/dx = dL/dy tanh(x)^2.   grad, tanh: alike."""
    return grad * tanh * tanh


@kernel(_nn.glu)
def glu(input: Tensor, dim: int = -1) -> Tensor:
    """y = a sigmoid(b), with a and b the halves of x along `dim`.   Dauphin et al. 2017, eq. 1."""
    a, b = torch.chunk(input, 2, dim)
    return a * torch.sigmoid(b)


@kernel(aten.glu_backward.default)
def glu_backward(grad: Tensor, input: Tensor, dim: int) -> Tensor:
    """dL/da = dL/dy s and dL/db = dL/dy a s (1 - s), with s = sigmoid(b).   grad: half as long as input along `dim`."""
    a, b = torch.chunk(input, 2, dim)
    s = torch.sigmoid(b)
    return torch.cat([grad * s, grad * (s * (1 - s)) * a], dim)


_gelu: Any = _nn.gelu
_gelu_backward = direct(aten.gelu_backward.default)
_gelu_backward_out = direct(aten.gelu_backward.grad_input)
# gelu's approximation by tanh: Phi(x) = (1 + tanh(k (x + c x^3))) / 2
_K, _C = math.sqrt(2 / math.pi), 0.044715


@kernel(lambda input, approximate="none": _gelu(input, approximate=approximate))
def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """y = x Phi(x), with Phi the normal distribution function; or "tanh", near to it.   Hendrycks & Gimpel 2016, eq. 2.

    Phi(x) = (1 + erf(x / sqrt 2)) / 2, or (1 + tanh(k (x + c x^3))) / 2 with k = sqrt(2 / pi), c = 0.044715.
    """
    if approximate == "tanh":
        return 0.5 * input * (1 + torch.tanh(_K * (input + _C * input**3)))
    return 0.5 * input * (1 + torch.erf(input / math.sqrt(2)))


@kernel(lambda grad, input, approximate="none": _gelu_backward(grad, input, approximate=approximate))
def gelu_backward(grad: Tensor, input: Tensor, approximate: str = "none") -> Tensor:
    """dL/dx = dL/dy (Phi(x) + x phi(x)), with phi = Phi' the normal density.   grad, input: alike.

    phi(x) = e^(-x^2 / 2) / sqrt(2 pi), or (1 - t^2) k (1 + 3 c x^2) / 2 with t the tanh.
    """
    if approximate == "tanh":
        t = torch.tanh(_K * (input + _C * input**3))
        distribution, density = (1 + t) / 2, (1 - t * t) * (_K * (1 + 3 * _C * input**2)) / 2
    else:
        distribution = (1 + torch.erf(input / math.sqrt(2))) / 2
        density = torch.exp(-input * input / 2) / math.sqrt(2 * math.pi)
    return grad * (distribution + input * density)


gelu_backward_ = in_place(
    gelu_backward,
    lambda grad, input, approximate="none", *, grad_input: _gelu_backward_out(
        grad, input, approximate=approximate, grad_input=grad_input
    ),
)

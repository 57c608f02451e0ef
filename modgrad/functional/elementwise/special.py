"""Special functions of mathematics and statistics, each beside its derivative."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from modgrad.functional.kernel import kernel

aten = torch.ops.aten

__all__ = [
    "digamma",
    "digamma_backward",
    "entr",
    "entr_backward",
    "erf",
    "erf_backward",
    "erfc",
    "erfc_backward",
    "erfcx",
    "erfcx_backward",
    "erfinv",
    "erfinv_backward",
    "i0",
    "i0_backward",
    "i0e",
    "i0e_backward",
    "i1",
    "i1_backward",
    "i1e",
    "i1e_backward",
    "lgamma",
    "lgamma_backward",
    "log_ndtr",
    "log_ndtr_backward",
    "logaddexp",
    "logaddexp2",
    "logaddexp2_grad_input",
    "logaddexp2_grad_other",
    "logaddexp_grad_input",
    "logaddexp_grad_other",
    "logit",
    "logit_backward",
    "ndtr",
    "ndtr_backward",
    "ndtri",
    "ndtri_backward",
    "polygamma",
    "polygamma_backward",
    "xlog1py",
    "xlog1py_grad_input",
    "xlog1py_grad_other",
    "xlogy",
    "xlogy_grad_input",
    "xlogy_grad_other",
]

Number = Tensor | float


def erf(input: Tensor) -> Tensor:
    """y = 2 / sqrt(pi) times the integral of e^(-t^2) from 0 to x."""
    return torch.erf(input)


def erf_backward(grad: Tensor, input: Tensor) -> Tensor:
    """dL/dx = dL/dy * 2 / sqrt(pi) e^(-x^2)."""
    return 2 / math.sqrt(math.pi) * torch.exp(-(input * input)) * grad


def erfc(input: Tensor) -> Tensor:
    """y = 1 - erf(x), exact for large x too."""
    return torch.erfc(input)


def erfc_backward(grad: Tensor, input: Tensor) -> Tensor:
    """dL/dx = -dL/dy * 2 / sqrt(pi) e^(-x^2)."""
    return -2 / math.sqrt(math.pi) * torch.exp(-(input * input)) * grad


def erfcx(input: Tensor) -> Tensor:
    """y = e^(x^2) erfc(x)."""
    return torch.special.erfcx(input)


def erfcx_backward(grad: Tensor, input: Tensor, output: Tensor) -> Tensor:
    """dL/dx = dL/dy * (2 x y - 2 / sqrt(pi))."""
    return (2 * input * output - 2 / math.sqrt(math.pi)) * grad


def erfinv(input: Tensor) -> Tensor:
    """y with erf(y) = x."""
    return torch.erfinv(input)


def erfinv_backward(grad: Tensor, output: Tensor) -> Tensor:
    """dL/dx = dL/dy * sqrt(pi) / 2 e^(y^2)."""
    return 0.5 * math.sqrt(math.pi) * torch.exp(output * output) * grad


def ndtr(input: Tensor) -> Tensor:
    """y = Phi(x), the normal distribution function."""
    return torch.special.ndtr(input)


def ndtr_backward(grad: Tensor, input: Tensor) -> Tensor:
    """dL/dx = dL/dy * e^(-x^2 / 2) / sqrt(2 pi)."""
    return grad * (torch.exp(-0.5 * input * input) / math.sqrt(2 * math.pi))


def ndtri(input: Tensor) -> Tensor:
    """y with Phi(y) = x, Phi the normal distribution function."""
    return torch.special.ndtri(input)


def ndtri_backward(grad: Tensor, output: Tensor) -> Tensor:
    """dL/dx = dL/dy * sqrt(2 pi) e^(y^2 / 2)."""
    return grad * math.sqrt(2 * math.pi) * torch.exp(output * output / 2)


def log_ndtr(input: Tensor) -> Tensor:
    """y = ln Phi(x), Phi the normal distribution function."""
    return torch.special.log_ndtr(input)


def log_ndtr_backward(grad: Tensor, input: Tensor, output: Tensor) -> Tensor:
    """dL/dx = dL/dy * e^(-x^2 / 2 - y) / sqrt(2 pi)."""
    return grad / math.sqrt(2 * math.pi) * torch.exp(-(output + input * input / 2))


def lgamma(input: Tensor) -> Tensor:
    """y = ln |Gamma(x)|."""
    return torch.lgamma(input)


def lgamma_backward(grad: Tensor, input: Tensor) -> Tensor:
    """dL/dx = dL/dy * digamma(x)."""
    return grad * torch.digamma(input)


def digamma(input: Tensor) -> Tensor:
    """y = d ln Gamma(x) / dx."""
    return torch.digamma(input)


def digamma_backward(grad: Tensor, input: Tensor) -> Tensor:
    """dL/dx = dL/dy * polygamma(1, x)."""
    return grad * torch.polygamma(1, input)


def polygamma(input: Tensor, n: int) -> Tensor:
    """y = the n-th derivative of digamma."""
    return torch.polygamma(n, input)


def polygamma_backward(grad: Tensor, input: Tensor, n: int) -> Tensor:
    """dL/dx = dL/dy * polygamma(n + 1, x)."""
    return grad * torch.polygamma(n + 1, input)


def i0(input: Tensor) -> Tensor:
    """y = I_0(x), the modified Bessel function of the first kind of order 0."""
    return torch.special.i0(input)


def i0_backward(grad: Tensor, input: Tensor) -> Tensor:
    """dL/dx = dL/dy * I_1(x)."""
    return grad * torch.special.i1(input)


def i0e(input: Tensor) -> Tensor:
    """y = e^-|x| I_0(x)."""
    return torch.special.i0e(input)


def i0e_backward(grad: Tensor, input: Tensor, output: Tensor) -> Tensor:
    """dL/dx = dL/dy * (e^-|x| I_1(x) - sign(x) y)."""
    return grad * (torch.special.i1e(input) - torch.sign(input) * output)


def i1(input: Tensor) -> Tensor:
    """y = I_1(x), the modified Bessel function of the first kind of order 1."""
    return torch.special.i1(input)


def i1_backward(grad: Tensor, input: Tensor, output: Tensor) -> Tensor:
    """dL/dx = dL/dy * (I_0(x) - y / x), 1/2 at x = 0."""
    large, safe = _away_from_zero(input)
    return grad * torch.where(large, torch.special.i0(safe) - output / safe, 0.5)


def i1e(input: Tensor) -> Tensor:
    """y = e^-|x| I_1(x)."""
    return torch.special.i1e(input)


def i1e_backward(grad: Tensor, input: Tensor, output: Tensor) -> Tensor:
    """dL/dx = dL/dy * (e^-|x| I_0(x) - y (sign(x) + 1 / x)), 1/2 at x = 0."""
    large, safe = _away_from_zero(input)
    slope = torch.special.i0e(safe) - output * (torch.sign(safe) + torch.reciprocal(safe))
    return grad * torch.where(large, slope, 0.5)


def _away_from_zero(input: Tensor) -> tuple[Tensor, Tensor]:
    """Where |x| is larger than a rounding, and x with something to divide by in the other places."""
    tiny = torch.finfo(input.dtype).eps
    large = torch.abs(input) > tiny
    return large, torch.where(large, input, tiny)


def entr(input: Tensor) -> Tensor:
    """y = -x ln x, 0 at x = 0 and -inf below."""
    return torch.special.entr(input)


def entr_backward(grad: Tensor, input: Tensor) -> Tensor:
    """dL/dx = -dL/dy * (1 + ln x)."""
    return grad * -(1 + torch.log(input))


def logit(input: Tensor, eps: float | None) -> Tensor:
    """y = ln(x / (1 - x)), x brought to [eps, 1 - eps] before if eps is given."""
    return torch.logit(input, eps)


@kernel(aten.logit_backward.default)
def logit_backward(grad: Tensor, input: Tensor, eps: float | None) -> Tensor:
    """dL/dx = dL/dy / (x (1 - x)). Outside of [eps, 1 - eps] 0, or outside of [0, 1], without eps, NaN."""
    low, beyond = (0.0, math.nan) if eps is None else (eps, 0.0)
    outside = (input < low) | (input > 1 - low)
    return torch.where(outside, beyond, grad / torch.abs(input * (1 - input)))  # which takes the sign off -0


def xlogy(input: Number, other: Number) -> Tensor:
    """y = a ln b, 0 where a = 0, unless b is NaN."""
    return torch.xlogy(input, other)  # type: ignore[arg-type]


def xlogy_grad_input(grad: Tensor, input: Tensor, other: Number) -> Tensor:
    """dL/da = dL/dy * ln b, and 0 where a = 0 and b <= 0."""
    return torch.where(_nothing(input, other, 0), 0, torch.xlogy(grad, other))


def _nothing(input: Tensor, other: Number, least: float) -> Tensor:
    """Where a = 0 and the logarithm of b has no number."""
    return (input == 0) & (other <= least if isinstance(other, Tensor) else not other > least)


def xlogy_grad_other(grad: Tensor, input: Number, other: Number) -> Tensor:
    """dL/db = dL/dy * a / b."""
    return grad * input / other


def xlog1py(input: Number, other: Number) -> Tensor:
    """y = a ln(1 + b), 0 where a = 0, unless b is NaN."""
    return torch.special.xlog1py(input, other)


def xlog1py_grad_input(grad: Tensor, input: Tensor, other: Number) -> Tensor:
    """dL/da = dL/dy * ln(1 + b), and 0 where a = 0 and b <= -1."""
    return torch.where(_nothing(input, other, -1), 0, torch.special.xlog1py(grad, other))


def xlog1py_grad_other(grad: Tensor, input: Number, other: Number) -> Tensor:
    """dL/db = dL/dy * a / (1 + b)."""
    return grad * input / (other + 1)


def logaddexp(input: Tensor, other: Tensor) -> Tensor:
    """y = ln(e^a + e^b), without overflow on the way."""
    return torch.logaddexp(input, other)


def logaddexp_grad_input(grad: Tensor, input: Tensor, other: Tensor) -> Tensor:
    """dL/da = dL/dy / (1 + e^(b - a))."""
    return grad / (1 + torch.exp(other - input))


def logaddexp_grad_other(grad: Tensor, input: Tensor, other: Tensor) -> Tensor:
    """dL/db = dL/dy / (1 + e^(a - b))."""
    return grad / (1 + torch.exp(input - other))


def logaddexp2(input: Tensor, other: Tensor) -> Tensor:
    """y = log2(2^a + 2^b), without overflow on the way."""
    return torch.logaddexp2(input, other)


def logaddexp2_grad_input(grad: Tensor, input: Tensor, other: Tensor) -> Tensor:
    """dL/da = dL/dy / (1 + 2^(b - a))."""
    return grad / (1 + torch.exp2(other - input))


def logaddexp2_grad_other(grad: Tensor, input: Tensor, other: Tensor) -> Tensor:
    """dL/db = dL/dy / (1 + 2^(a - b))."""
    return grad / (1 + torch.exp2(input - other))

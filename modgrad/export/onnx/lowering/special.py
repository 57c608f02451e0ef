"""Special functions, which ONNX has no operators for, on intervals where they are smooth."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from modgrad.export.onnx.graph import Value
from modgrad.export.onnx.lowering.formula import Formula
from modgrad.export.onnx.lowering.series import polynomial, series
from modgrad.export.onnx.lowering.table import LOWERINGS, Operation, lowers

aten: Any = torch.ops.aten


# Error functions


def _positive_erfcx(x: Formula) -> Formula:
    """e^(x^2) erfc(x) for x from 0 on: (1 + 2 x) times it is smooth in 1 / (x + 3.75) (Shepherd and Laframboise, 1981:
    Chebyshev approximation of (1 + 2x) exp(x^2) erfc(x))."""
    return series(_by_reciprocal, 0, 1 / 3.75, (x + 3.75).reciprocal()) / (x * 2 + 1)


def _by_reciprocal(t: Tensor) -> Tensor:
    x = 1 / t - 3.75
    return torch.special.erfcx(x) * (1 + 2 * x)


def _bell(x: Formula) -> Formula:
    """e^(-x^2), with x split in two, so that the rounding of a large square does not grow to one of the result."""
    high = (x * 16).round() / 16
    return (-(high * high)).exp() * (-((x - high) * (x + high))).exp()


def erfcx(x: Formula) -> Formula:
    right = _positive_erfcx(x.abs())
    return (x < 0).choose((x * x).exp() * 2 - right, right)


def erfc(x: Formula) -> Formula:
    size = x.abs().op("Min", 40.0)  # by far too large to be anything but 0
    right = _bell(size) * _positive_erfcx(size)
    return x.is_nan().choose(x, (x < 0).choose(2 - right, right))


def erf(x: Formula) -> Formula:
    near = x * series(_erf_by_square, 0, 1, x * x)
    return (x.abs() < 1).choose(near, 1 - erfc(x))


def _erf_by_square(square: Tensor) -> Tensor:
    return torch.erf(square.sqrt()) / square.sqrt()


def _inverse_of_tail(q: Formula) -> Formula:
    """y with erfc(y) = q, for q from 0 to 1: y / (1 - q) is smooth in w = -log(q (2 - q)) where that is small, and in
    its root (Giles, 2012: Approximating the erfinv function)."""
    w = -((q * (2 - q)).log())
    root = w.sqrt()
    near = series(_inverse_near, 0, 6, w)
    far = series(_inverse_far, math.sqrt(6), 7, root)
    tail = series(_inverse_farthest, 1 / 28, 1 / 7, root.reciprocal()) * root
    found = (w < 6).choose(near, (root < 7).choose(far, tail)) * (1 - q)
    return q.equals(0).choose(math.inf, found)


def _inverse_near(w: Tensor) -> Tensor:
    x = torch.sqrt(-torch.expm1(-w))
    return torch.erfinv(x) / x


def _inverse_far(root: Tensor) -> Tensor:
    x = torch.sqrt(-torch.expm1(-root * root))
    return -torch.special.ndtri(torch.exp(-root * root) / (1 + x) / 2) / math.sqrt(2) / x


def _inverse_farthest(reciprocal: Tensor) -> Tensor:
    """Of which 1 - q is 1: q = e^(-w) / 2 may be too small for a number, and is found by its logarithm."""
    w = reciprocal**-2
    y = reciprocal.reciprocal()
    for _ in range(6):  # Newton's method on log erfc(y) = -w - log 2
        error = torch.log(torch.special.erfcx(y)) - y * y + w + math.log(2)
        y = y + error * torch.special.erfcx(y) * math.sqrt(math.pi) / 2
    return y * reciprocal


@lowers(aten.erfinv.default, aten.special_erfinv.default)
def erfinv(on: Operation, x: Value) -> Value:
    """Not a number outside of [-1, 1]."""
    given = Formula(on, on.cast(x, on.dtype))
    size = given.abs()
    near = given * series(_inverse_near, 0, 6, -((1 - size) * (1 + size)).log())
    far = given.sign() * _inverse_of_tail(1 - size)
    return (size < 0.7).choose(near, far).value


@lowers(aten.special_ndtri.default)
def ndtri(on: Operation, p: Value) -> Value:
    """-sqrt(2) y with erfc(y) = 2 p, by the nearer tail."""
    given = Formula(on, on.cast(p, on.dtype))
    upper = given > 0.5
    y = _inverse_of_tail(upper.choose(1 - given, given) * 2) * math.sqrt(2)
    return upper.choose(y, -y).value


# Modified Bessel functions


def _i0e(x: Formula) -> Formula:
    size = x.abs()
    near = series(torch.special.i0e, 0, 8, size)
    far = series(_i0e_far, 0, 1 / 8, size.reciprocal()) / size.sqrt()
    return (size <= 8).choose(near, far)


def _i0e_far(reciprocal: Tensor) -> Tensor:
    return torch.special.i0e(1 / reciprocal) / torch.sqrt(reciprocal)


def _i1e(x: Formula) -> Formula:
    size = x.abs()
    near = x * series(_i1e_near, 0, 8, size)
    far = x.sign() * series(_i1e_far, 0, 1 / 8, size.reciprocal()) / size.sqrt()
    return (size <= 8).choose(near, far)


def _i1e_near(x: Tensor) -> Tensor:
    return torch.special.i1e(x) / x


def _i1e_far(reciprocal: Tensor) -> Tensor:
    return torch.special.i1e(1 / reciprocal) / torch.sqrt(reciprocal)


def _i0(x: Formula) -> Formula:
    return x.abs().exp() * _i0e(x)


def _i1(x: Formula) -> Formula:
    return x.abs().exp() * _i1e(x)


# The gamma function and its derivatives

_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510)  # Bernoulli's numbers, from B2


def lgamma(x: Formula) -> Formula:
    """log |gamma(x)|, which is 0 at 1 and 2; by Stirling's formula from 8 on, below 0 by the reflection formula."""
    size = (x < 0).choose(1 - x, x)
    small = size < 0.5
    above = small.choose(size + 1, size)
    near = series(_lgamma_by_zeros, 0.5, 3, above) * ((above - 1) * (above - 2))
    near = small.choose(near - size.log(), near)
    middle = series(torch.lgamma, 3, 8, size)
    inverse = size.reciprocal()
    terms = [b / (2 * k * (2 * k - 1)) for k, b in enumerate(_BERNOULLI, 1)]
    far = (size.log() - 1) * (size - 0.5) - 0.5 + 0.5 * math.log(2 * math.pi)
    far = far + polynomial(inverse * inverse, terms) * inverse
    right = (size < 3).choose(near, (size < 8).choose(middle, far))
    left = math.log(math.pi) - _sine_of_turns(x).abs().log() - right
    found = (x < 0).choose(left, right)
    return x.is_infinite().choose(math.inf, found)


def _lgamma_by_zeros(x: Tensor) -> Tensor:
    return torch.lgamma(x) / ((x - 1) * (x - 2))


def _sine_of_turns(x: Formula) -> Formula:
    """sin(pi x) but for its sign, 0 where x is a whole number."""
    return ((x - x.round()) * math.pi).sin()


def polygamma(x: Formula, n: int) -> Formula:
    """The n-th derivative of digamma: eight terms of its sum, and Euler's formula for the others. Left of 1/2 by
    psi_n(x) = (-1)^n psi_n(1 - x) - pi^(n + 1) P(cot(pi x)), P being the n-th derivative of the cotangent."""
    flipped = x < 0.5
    z = flipped.choose(1 - x, x)
    total: Any = None
    for i in range(8):
        term = (z + i) ** -float(n + 1)
        total = term if total is None else total + term
    z = z + 8
    inverse = z.reciprocal()
    # Of n = 0: log z - 1 / (2 z) - sum B_2k / (2 k z^2k); of others its n-th derivative, without the sign
    begin = -(z.log()) if n == 0 else math.factorial(n - 1) * z ** -float(n)
    half = inverse ** float(n + 1) * (math.factorial(n) / 2)
    terms = [b * math.factorial(2 * k + n - 1) / math.factorial(2 * k) for k, b in enumerate(_BERNOULLI, 1)]
    rest = polynomial(inverse * inverse, terms) * inverse ** float(n + 2)
    size = total * math.factorial(n) + begin + half + rest
    right = size if n % 2 else -size
    place = (x - x.round()) * math.pi
    cotangent = place.cos() / place.sin()
    left = (right if n % 2 == 0 else -right) - math.pi ** (n + 1) * polynomial(cotangent, _cotangents(n))
    return flipped.choose(left, right)


def _cotangents(n: int) -> list[float]:
    """The n-th derivative of the cotangent, as a polynomial of it: c' = -1 - c^2."""
    found = np.polynomial.Polynomial([0, 1])
    for _ in range(n):
        found = found.deriv() * np.polynomial.Polynomial([-1, 0, -1])
    return [float(c) for c in found.coef]


@lowers(aten.digamma.default, aten.special_digamma.default)
def digamma(on: Operation, x: Value) -> Value:
    """At 0 infinite, with the sign turned; not a number where x is another whole number below 0."""
    given = Formula(on, on.cast(x, on.dtype))
    pole = (given < 0) & given.equals(given.round())
    return given.equals(0).choose(-(given.reciprocal()), pole.choose(math.nan, polygamma(given, 0))).value


@lowers(aten.polygamma.default, aten.special_polygamma.default)
def any_polygamma(on: Operation, n: int, x: Value) -> Value:
    return digamma(on, x) if n == 0 else polygamma(Formula(on, on.cast(x, on.dtype)), n).value


def _of_formula(function: Callable[[Formula], Formula]) -> Any:
    return lambda on, x: function(Formula(on, on.cast(x, on.dtype))).value


def _erf(on: Operation, x: Value) -> Value:
    """onnxruntime has the operator for float32 alone."""
    x = on.cast(x, on.dtype)
    return erf(Formula(on, x)).value if on.dtype is torch.float64 else on.op("Erf", x)


LOWERINGS.update(
    {
        aten.erf.default: _erf,
        aten.erfc.default: _of_formula(erfc),
        aten.special_erfcx.default: _of_formula(erfcx),
        aten.i0.default: _of_formula(_i0),
        aten.special_i0e.default: _of_formula(_i0e),
        aten.special_i1.default: _of_formula(_i1),
        aten.special_i1e.default: _of_formula(_i1e),
        aten.lgamma.default: _of_formula(lgamma),
    }
)

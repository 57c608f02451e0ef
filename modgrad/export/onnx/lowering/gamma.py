"""The gamma function's kind and Bessel's functions, for which ONNX has no operators: series, computed in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from modgrad.export.onnx.graph import Value
from modgrad.export.onnx.lowering.reduction import reduced
from modgrad.export.onnx.lowering.table import Operation, lowers, rank

aten: Any = torch.ops.aten
_AHEAD = 32  # how far the argument of an asymptotic series is moved up
# B_2, B_4, ...: Bernoulli's numbers.
_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730)


class _Double:
    """Arithmetic of values and numbers in float64."""

    def __init__(self, on: Operation, x: Value) -> None:
        self.on = on
        self.x = on.cast(x, torch.float64)._replace(shape=x.shape)

    def __call__(self, kind: str, *operands: Any) -> Value:
        dtype = torch.bool if kind in _BOOLS else torch.float64
        values = [x if isinstance(x, Value) else self.on.constant(float(x), torch.float64) for x in operands]
        result: Value = self.on.op(kind, *values, dtype=dtype, shape=self.x.shape)
        return result

    def choose(self, condition: Value, a: Any, b: Any) -> Value:
        a, b = (x if isinstance(x, Value) else self.on.constant(float(x), torch.float64) for x in (a, b))
        result: Value = self.on.op("Where", condition, a, b, dtype=torch.float64, shape=self.x.shape)
        return result

    def result(self, x: Value) -> Value:
        return self.on.cast(x, self.on.dtype)

    def sum(self, x: Value, term: Callable[[Value], Value]) -> Value:
        """Of term(x + k) for k from 0 to _AHEAD - 1."""
        steps = self.on.constant(torch.arange(_AHEAD, dtype=torch.float64))
        each = self.on.op("Add", self.on.unsqueeze(x, rank(x)), steps)
        return reduced(self.on, "ReduceSum", term(each)._replace(shape=(*(x.shape or ()), _AHEAD)), rank(x))

    def odd_powers(self, w: Value, coefficients: list[float]) -> Value:
        """c_0 / w + c_1 / w^3 + ..."""
        inverse = self("Reciprocal", w)
        square = self("Mul", inverse, inverse)
        total = self("Mul", square, 0.0)
        for coefficient in reversed(coefficients):
            total = self("Add", self("Mul", total, square), coefficient)
        return self("Mul", total, inverse)

    def turn(self) -> tuple[Value, Value]:
        """sin(pi r) and cos(pi r), r being x less the integer nearest to it."""
        r = self("Sub", self.x, self("Round", self.x))
        return self("Sin", self("Mul", r, math.pi)), self("Sin", self("Mul", self("Add", r, 0.5), math.pi))


_BOOLS = {"Less", "Greater", "Equal", "And", "IsInf", "LessOrEqual"}


@lowers(aten.lgamma.default)
def lgamma(on: Operation, x: Value) -> Value:
    """log |Gamma(x)|: Stirling's series at x + 32, less log x(x + 1)...; below 1/2 by reflection."""
    of = _Double(on, x)
    left = of("Less", of.x, 0.5)
    z = of.choose(left, of("Sub", 1.0, of.x), of.x)
    w = of("Add", z, _AHEAD)
    coefficients = [b / (2 * j * (2 * j - 1)) for j, b in enumerate(_BERNOULLI, 1)]
    stirling = of("Sub", of("Mul", of("Sub", w, 0.5), of("Log", w)), w)
    stirling = of("Add", of("Add", stirling, 0.5 * math.log(2 * math.pi)), of.odd_powers(w, coefficients))
    whole = of("Sub", stirling, of.sum(z, lambda each: on.op("Log", each)))
    sine, _ = of.turn()
    reflected = of("Sub", of("Log", of("Div", math.pi, of("Abs", sine))), whole)
    found = of.choose(left, reflected, whole)
    return of.result(of.choose(of("IsInf", of.x), math.inf, found))


@lowers(aten.digamma.default)
def digamma(on: Operation, x: Value) -> Value:
    """d/dx log Gamma(x), likewise; not a number at negative integers, -inf at 0."""
    of = _Double(on, x)
    left = of("Less", of.x, 0.5)
    z = of.choose(left, of("Sub", 1.0, of.x), of.x)
    w = of("Add", z, _AHEAD)
    inverse = of("Reciprocal", w)
    series = of("Mul", of.odd_powers(w, [b / (2 * j) for j, b in enumerate(_BERNOULLI, 1)]), inverse)
    whole = of("Sub", of("Sub", of("Log", w), of("Mul", inverse, 0.5)), series)
    whole = of("Sub", whole, of.sum(z, lambda each: on.op("Reciprocal", each)))
    sine, cosine = of.turn()
    reflected = of("Sub", whole, of("Div", of("Mul", cosine, math.pi), sine))
    pole = of("And", of("Less", of.x, 0.0), of("Equal", sine, 0.0))
    return of.result(of.choose(pole, math.nan, of.choose(left, reflected, whole)))


@lowers(aten.polygamma.default)
def polygamma(on: Operation, n: int, x: Value) -> Value:
    """The n-th derivative of digamma, (-1)^(n + 1) n! sum_k (x + k)^(-n - 1): 32 terms, then Euler and Maclaurin.

    Below -20 that many are too few, and the result is not a number.
    """
    if n == 0:
        return digamma(on, x)
    of = _Double(on, x)
    s = n + 1
    total = of.sum(of.x, lambda each: on.op("Pow", each, on.constant(float(-s), torch.float64)))
    w = of("Add", of.x, _AHEAD)
    rest = of("Mul", of("Pow", w, 1 - s), 1 / (s - 1))
    rest = of("Add", rest, of("Mul", of("Pow", w, -s), 0.5))
    rising = 1.0
    for j, bernoulli in enumerate(_BERNOULLI, 1):
        rising = math.prod(s + i for i in range(2 * j - 1)) / math.factorial(2 * j)
        rest = of("Add", rest, of("Mul", of("Pow", w, -s - 2 * j + 1), bernoulli * rising))
    found = of("Mul", of("Add", total, rest), (-1) ** (n + 1) * math.factorial(n))
    return of.result(of.choose(of("Less", of.x, -20.0), math.nan, found))


# Bessel's: series of Chebyshev's polynomials, of exp(-x) I(x) up to 8 and of exp(-x) sqrt(x) I(x) from there on, whose
# coefficients are found from PyTorch's own values.   Clenshaw 1962; Abramowitz & Stegun 1964, 9.8.
_TERMS = 30


def _chebyshev(function: Callable[[Tensor], Tensor]) -> list[float]:
    """The coefficients of a function on [-1, 1]."""
    angles = (torch.arange(_TERMS, dtype=torch.float64) + 0.5) * math.pi / _TERMS
    values = function(torch.cos(angles))
    orders = torch.arange(_TERMS, dtype=torch.float64)
    found = 2 / _TERMS * (torch.cos(orders[:, None] * angles) * values).sum(1)
    found[0] /= 2
    return found.tolist()


def _series(of: _Double, t: Value, coefficients: list[float]) -> Value:
    later, current = of("Mul", t, 0.0), of("Mul", t, 0.0)
    twice = of("Mul", t, 2.0)
    for coefficient in reversed(coefficients[1:]):
        current, later = of("Add", of("Sub", of("Mul", twice, current), later), coefficient), current
    return of("Add", of("Sub", of("Mul", t, current), later), coefficients[0])


def _bessel(function: Callable[[Tensor], Tensor], odd: bool, scaled: bool) -> Any:
    def near(t: Tensor) -> Tensor:
        x = 4 * (t + 1)
        return function(x) / x if odd else function(x)

    def far(t: Tensor) -> Tensor:
        x = 16 / (t + 1)
        return function(x) * x.sqrt()

    def lowering(on: Operation, x: Value) -> Value:
        of = _Double(on, x)
        size = of("Abs", of.x)
        small, large = of("Min", size, 8.0), of("Max", size, 8.0)
        inner = _series(of, of("Sub", of("Mul", small, 0.25), 1.0), _chebyshev(near))
        outer = _series(of, of("Sub", of("Div", 16.0, large), 1.0), _chebyshev(far))
        if odd:
            inner = of("Mul", inner, small)
        found = of.choose(of("LessOrEqual", size, 8.0), inner, of("Div", outer, of("Sqrt", large)))
        if not scaled:
            found = of("Mul", found, of("Exp", size))
        if odd:
            found = of.choose(of("Less", of.x, 0.0), of("Neg", found), found)
        return of.result(found)

    return lowering


_torch: Any = torch.special
lowers(aten.special_i0.default, aten.i0.default)(_bessel(_torch.i0e, odd=False, scaled=False))
lowers(aten.special_i0e.default)(_bessel(_torch.i0e, odd=False, scaled=True))
lowers(aten.special_i1.default)(_bessel(_torch.i1e, odd=True, scaled=False))
lowers(aten.special_i1e.default)(_bessel(_torch.i1e, odd=True, scaled=True))


@lowers(aten.frexp.Tensor)
def frexp(on: Operation, x: Value) -> tuple[Value, Value]:
    """x = m 2^e with |m| from 1/2 up to 1: e by the logarithm, which may be rounded to the one beside it."""
    of = _Double(on, x)
    size = of("Abs", of.x)
    plain = on.op("And", of("Greater", size, 0.0), of("Less", size, math.inf))
    size = of.choose(plain, size, 0.5)
    exponent = of("Add", of("Floor", of("Mul", of("Log", size), 1 / math.log(2))), 1.0)
    half = of("Div", size, of("Pow", 2.0, of("Sub", exponent, 1.0)))  # from 1 up to 2, or just beside
    exponent = of.choose(of("Less", half, 1.0), of("Sub", exponent, 1.0), exponent)
    exponent = of.choose(of("Less", half, 2.0), exponent, of("Add", exponent, 1.0))
    mantissa = of("Mul", of("Div", of.x, of("Pow", 2.0, of("Sub", exponent, 1.0))), 0.5)
    exponents = on.cast(of.choose(plain, exponent, 0.0), torch.int32)
    return on.cast(of.choose(plain, mantissa, of.x), on.dtype), exponents

"""Functions that ONNX has no operator for, by approximations as exact as float32.

In float64 they are not: there they are refused.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from modgrad.export.onnx.graph import Value
from modgrad.export.onnx.lowering.table import Operation, lowers

aten: Any = torch.ops.aten
prims: Any = torch.ops.prims


class _Terms:
    """Arithmetic of values and numbers, in float64: of a float32 argument nothing is lost on the way."""

    def __init__(self, on: Operation) -> None:
        if on.dtype is torch.float64:
            raise NotImplementedError("in float64, for which the approximation is too coarse")
        self.on = on

    def number(self, x: Any) -> Value:
        return x if isinstance(x, Value) else self.on.constant(float(x), torch.float64)

    def __call__(self, kind: str, *operands: Any) -> Value:
        bools = kind in ("Less", "Greater", "Equal")
        result: Value = self.on.op(kind, *map(self.number, operands), dtype=torch.bool if bools else torch.float64)
        return result

    def choose(self, condition: Value, a: Any, b: Any) -> Value:
        result: Value = self.on.op("Where", condition, self.number(a), self.number(b), dtype=torch.float64)
        return result

    def polynomial(self, x: Value, coefficients: Sequence[float]) -> Value:
        """Highest power first."""
        total = self.number(coefficients[0])
        for coefficient in coefficients[1:]:
            total = self("Add", self("Mul", total, x), coefficient)
        return total

    def square(self, x: Value) -> Value:
        return self("Mul", x, x)

    def result(self, x: Value) -> Value:
        return self.on.cast(x, self.on.dtype)


# log(erfc(x) exp(x^2) / t), t = 1 / (1 + x / 2), for x >= 0, with an error below 1.2e-7.
# Press et al. 2007, "Numerical Recipes", section 6.2.2.
_ERFC = (
    *(0.17087277, -0.82215223, 1.48851587, -1.13520398, 0.27886807),
    *(-0.18628806, 0.09678418, 0.37409196, 1.00002368, -1.26551223),
)


def _scaled(of: _Terms, x: Value) -> Value:
    """erfc(|x|) exp(x^2)."""
    t = of("Reciprocal", of("Add", of("Mul", of("Abs", x), 0.5), 1.0))
    return of("Mul", t, of("Exp", of.polynomial(t, _ERFC)))


@lowers(aten.erfc.default, aten.special_erfc.default, prims.erfc.default)
def erfc(on: Operation, x: Value) -> Value:
    """1 - erf(x), which for large x would be rounded away."""
    of = _Terms(on)
    x = on.cast(x, torch.float64)
    tail = of("Mul", _scaled(of, x), of("Exp", of("Neg", of.square(x))))
    return of.result(of.choose(of("Less", x, 0.0), of("Sub", 2.0, tail), tail))


@lowers(aten.special_erfcx.default, prims.erfcx.default)
def erfcx(on: Operation, x: Value) -> Value:
    """erfc(x) exp(x^2)."""
    of = _Terms(on)
    x = on.cast(x, torch.float64)
    right = _scaled(of, x)
    left = of("Sub", of("Mul", 2.0, of("Exp", of.square(x))), right)
    return of.result(of.choose(of("Less", x, 0.0), left, right))


# Wichura 1988, "Algorithm AS 241: the percentage points of the normal distribution", PPND7.
_MIDDLE = (5.9109374720e01, 1.5929113202e02, 5.0434271938e01, 3.3871327179e00)
_MIDDLE_BELOW = (6.7187563600e01, 7.8757757664e01, 1.7895169469e01, 1.0)
_SIDES = (1.7023821103e-01, 1.3067284816e00, 2.7568153900e00, 1.4234372777e00)
_SIDES_BELOW = (1.2021132975e-01, 7.3700164250e-01, 1.0)
_TAILS = (1.7337203997e-02, 4.2868294337e-01, 3.0812263860e00, 6.6579051150e00)
_TAILS_BELOW = (1.2258202635e-02, 2.4197894225e-01, 1.0)


def _quantile(of: _Terms, p: Value, q: Value) -> Value:
    """The normal distribution's. p: the probability; q = p - 1/2, which may be known more exactly."""
    r = of("Sub", 0.180625, of.square(q))
    middle = of("Mul", q, of("Div", of.polynomial(r, _MIDDLE), of.polynomial(r, _MIDDLE_BELOW)))
    left = of("Less", q, 0.0)
    side = of("Sqrt", of("Neg", of("Log", of.choose(left, p, of("Sub", 0.5, q)))))
    near, far = of("Sub", side, 1.6), of("Sub", side, 5.0)
    outer = of.choose(
        of("Greater", side, 5.0),
        of("Div", of.polynomial(far, _TAILS), of.polynomial(far, _TAILS_BELOW)),
        of("Div", of.polynomial(near, _SIDES), of.polynomial(near, _SIDES_BELOW)),
    )
    outer = of.choose(of("Equal", side, math.inf), math.inf, outer)
    outer = of.choose(left, of("Neg", outer), outer)
    return of.choose(of("Greater", of("Abs", q), 0.425), outer, middle)


@lowers(aten.special_ndtri.default, prims.ndtri.default)
def ndtri(on: Operation, p: Value) -> Value:
    """The inverse of the normal distribution's cumulative one."""
    of = _Terms(on)
    p = on.cast(p, torch.float64)
    return of.result(_quantile(of, p, of("Sub", p, 0.5)))


@lowers(aten.erfinv.default, prims.erf_inv.default)
def erfinv(on: Operation, y: Value) -> Value:
    """The quantile of (1 + y) / 2, over the root of 2."""
    of = _Terms(on)
    half = of("Mul", on.cast(y, torch.float64), 0.5)
    return of.result(of("Mul", _quantile(of, of("Add", half, 0.5), half), math.sqrt(0.5)))


@lowers(aten.atan2.default)
def atan2(on: Operation, y: Value, x: Value) -> Value:
    """The angle of (x, y), from -pi to pi."""
    dtype = on.dtype
    y, x = on.value(y, dtype), on.value(x, dtype)
    zero, pi = on.constant(0.0, dtype), on.constant(math.pi, dtype)
    # Of two infinite ones only the signs count.
    both = on.op("And", *(on.op("IsInf", v, dtype=torch.bool) for v in (x, y)))
    y, x = (on.op("Where", both, on.op("Sign", v), v, dtype=dtype) for v in (y, x))
    below = signbit(on, y)
    turn = on.op("Where", below, on.op("Neg", pi), pi, dtype=dtype)
    behind = signbit(on, x)
    origin = on.op("And", *(on.op("Equal", v, zero, dtype=torch.bool) for v in (x, y)))
    angle = on.op("Where", origin, zero, on.op("Atan", on.op("Div", y, x)), dtype=dtype)
    return on.op("Where", behind, on.op("Add", angle, turn), angle, dtype=dtype)


@lowers(aten.signbit.default, prims.signbit.default)
def signbit(on: Operation, x: Value) -> Value:
    """Whether there is a minus, before a 0 too: its reciprocal is then below 0."""
    zero = on.constant(0, x.dtype)
    below = on.op("Less", x, zero, dtype=torch.bool)
    if not x.dtype.is_floating_point:
        return below
    return on.op("Or", below, on.op("Less", on.op("Reciprocal", x), zero, dtype=torch.bool))


@lowers(aten.copysign.Tensor)
def copysign(on: Operation, size: Value, sign: Value) -> Value:
    size = on.op("Abs", on.value(size, on.dtype))
    return on.op("Where", signbit(on, sign), on.op("Neg", size), size, dtype=on.dtype)


@lowers(aten.hypot.default)
def hypot(on: Operation, a: Value, b: Value) -> Value:
    """sqrt(a^2 + b^2), as long * sqrt(1 + (short / long)^2), in which nothing overflows."""
    a, b = (on.op("Abs", on.value(x, on.dtype)) for x in (a, b))
    long, short = on.op("Max", a, b), on.op("Min", a, b)
    share = on.op("Div", short, long)
    found = on.op("Mul", long, on.op("Sqrt", on.op("Add", on.op("Mul", share, share), on.constant(1.0, on.dtype))))
    plain = on.op("Equal", short, on.constant(0.0, on.dtype), dtype=torch.bool)
    edge = on.op("Or", plain, on.op("IsInf", long, dtype=torch.bool))
    return on.op("Where", edge, long, found, dtype=on.dtype)

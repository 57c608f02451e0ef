"""Functions of two operands, and of the sign, that ONNX has no operators for."""

from __future__ import annotations

import math
from typing import Any

import torch

from modgrad.export.onnx.graph import Value
from modgrad.export.onnx.lowering.formula import Formula
from modgrad.export.onnx.lowering.table import Operation, lowers
from modgrad.export.onnx.lowering.unary import arctangent

aten: Any = torch.ops.aten


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
    angle = on.op("Where", origin, zero, arctangent(on, on.op("Div", y, x)), dtype=dtype)
    return on.op("Where", behind, on.op("Add", angle, turn), angle, dtype=dtype)


@lowers(aten.signbit.default)
def signbit(on: Operation, x: Value) -> Value:
    """Whether there is a minus, before a 0 too: its reciprocal is then below 0."""
    zero = on.constant(0, x.dtype)
    below = on.op("Less", x, zero, dtype=torch.bool)
    if not x.dtype.is_floating_point:
        return below
    return on.op("Or", below, on.op("Less", on.op("Reciprocal", x), zero, dtype=torch.bool))


@lowers(aten.copysign.Tensor, aten.copysign.Scalar)
def copysign(on: Operation, size: Value, sign: Any) -> Value:
    size, sign = on.op("Abs", on.value(size, on.dtype)), on.value(sign, on.dtype)
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


@lowers(aten.frexp.Tensor)
def frexp(on: Operation, x: Value) -> tuple[Value, Value]:
    """(m, e) with x = m 2^e and 1/2 <= |m| < 1. In two halves, as 2^-e may be too large for a number."""
    given = Formula(on, x)
    size = given.abs()
    plain = size.equals(0) | size.is_infinite() | size.is_nan()
    size = plain.choose(0.5, size)
    exponent = (size.log() / math.log(2)).floor() + 1

    def scaled(exponent: Formula) -> Formula:
        half = (exponent / 2).floor()
        two = given.number(2.0)
        return size * two ** (-half) * two ** (half - exponent)

    # The logarithm is rounded: next to a power of 2 it may be off by one
    exponent = (scaled(exponent) < 0.5).choose(exponent - 1, exponent)
    exponent = (scaled(exponent) < 1).choose(exponent, exponent + 1)
    mantissa = plain.choose(given, given.sign() * scaled(exponent))
    return mantissa.value, on.cast(plain.choose(0.0, exponent).value, torch.int32)

"""Functions of one element."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from modgrad.export.onnx.graph import Value
from modgrad.export.onnx.lowering.formula import Formula
from modgrad.export.onnx.lowering.series import series
from modgrad.export.onnx.lowering.table import LOWERINGS, Operation, lowers

aten: Any = torch.ops.aten

# Of a float, with an operator of the same meaning. An integer is made a float first, as PyTorch does.
UNARY = {
    aten.cos.default: "Cos",
    aten.exp.default: "Exp",
    aten.log.default: "Log",
    aten.reciprocal.default: "Reciprocal",
    aten.sigmoid.default: "Sigmoid",
    aten.sin.default: "Sin",
    aten.sqrt.default: "Sqrt",
    aten.tanh.default: "Tanh",
}
# Of any number, in its own dtype.
SAME = {
    aten.abs.default: "Abs",
    aten.neg.default: "Neg",
    aten.relu.default: "Relu",
    aten.sign.default: "Sign",
    aten.bitwise_not.default: "BitwiseNot",
}
# Of floats; integers are left as they are.
ROUNDING = {aten.floor.default: "Floor", aten.ceil.default: "Ceil", aten.round.default: "Round"}
HANDED_THROUGH = (
    aten.alias.default,
    aten.detach.default,
    aten.clone.default,
    aten.contiguous.default,
    aten.lift_fresh_copy.default,
    aten.positive.default,
)


def _unary(kind: str) -> Any:
    return lambda on, x: on.op(kind, on.cast(x, on.dtype))


def _same(kind: str) -> Any:
    def lowering(on: Operation, x: Value) -> Value:
        if x.dtype is torch.bool:
            return on.op("Not", x) if kind == "BitwiseNot" else x
        return on.op(kind, x)

    return lowering


def _rounding(kind: str) -> Any:
    return lambda on, x: on.op(kind, x) if x.dtype.is_floating_point else x


LOWERINGS.update({overload: _unary(kind) for overload, kind in UNARY.items()})
LOWERINGS.update({overload: _same(kind) for overload, kind in SAME.items()})
LOWERINGS.update({overload: _rounding(kind) for overload, kind in ROUNDING.items()})
LOWERINGS.update(dict.fromkeys(HANDED_THROUGH, lambda on, x, **_: x))


@lowers(aten.rsqrt.default)
def rsqrt(on: Operation, x: Value) -> Value:
    return on.op("Reciprocal", on.op("Sqrt", on.cast(x, on.dtype)))


@lowers(aten.log2.default)
def log2(on: Operation, x: Value) -> Value:
    return on.op("Mul", on.op("Log", on.cast(x, on.dtype)), on.constant(1 / math.log(2), on.dtype))


@lowers(aten.log10.default)
def log10(on: Operation, x: Value) -> Value:
    return on.op("Mul", on.op("Log", on.cast(x, on.dtype)), on.constant(1 / math.log(10), on.dtype))


@lowers(aten.exp2.default)
def exp2(on: Operation, x: Value) -> Value:
    return on.op("Pow", on.constant(2.0, on.dtype), on.cast(x, on.dtype))


@lowers(aten.expm1.default)
def expm1(on: Operation, x: Value) -> Value:
    """exp(x) - 1 as 2 t / (1 - t), t = tanh(x / 2), where |x| is small, for which exp(x) would round x away."""
    x = on.cast(x, on.dtype)
    two, one = on.constant(2.0, on.dtype), on.constant(1.0, on.dtype)
    t = on.op("Tanh", on.op("Div", x, two))
    exact = on.op("Div", on.op("Mul", two, t), on.op("Sub", one, t))
    small = on.op("Less", on.op("Abs", x), one, dtype=torch.bool)
    return on.op("Where", small, exact, on.op("Sub", on.op("Exp", x), one), dtype=x.dtype)


# Functions that onnxruntime has in float32 only


def log1p(x: Formula) -> Formula:
    """log(1 + x): where 1 + x has rounded something off, by the slope between there and 1 (Kahan)."""
    u = x + 1
    plain = u.equals(1) | u.is_infinite()
    return plain.choose(u.is_infinite().choose(u.log(), x), u.log() * x / plain.choose(1.0, u - 1))


def _single_log1p(x: Formula) -> Formula:
    """As 2 atanh(x / (2 + x)) where |x| is small, for which 1 + x would round x away."""
    return (x.abs() < 0.5).choose((x / (x + 2)).op("Atanh") * 2, (x + 1).log())


def _atan(x: Formula) -> Formula:
    size = x.abs()
    large = size > 1
    small = large.choose(size.reciprocal(), size)
    angle = small * series(_atan_by_square, 0, 1, small * small)
    angle = large.choose(math.pi / 2 - angle, angle)
    return (x < 0).choose(-angle, angle)


def _atan_by_square(square: torch.Tensor) -> torch.Tensor:
    return torch.atan(square.sqrt()) / square.sqrt()


def _asin(x: Formula) -> Formula:
    return _atan(x / (((1 - x) * (x + 1)).sqrt() + 1)) * 2


def _acos(x: Formula) -> Formula:
    return _atan(((1 - x) / (x + 1)).sqrt()) * 2


def _sinh(x: Formula) -> Formula:
    t = (x / 2).op("Tanh")
    near = t * 2 / ((1 - t) * (t + 1))
    return (x.abs() < 1).choose(near, (x.exp() - (-x).exp()) / 2)


def _cosh(x: Formula) -> Formula:
    return (x.exp() + (-x).exp()) / 2


def _asinh(x: Formula) -> Formula:
    size = x.abs()
    square = size * size
    found = log1p(size + square / ((square + 1).sqrt() + 1))
    return x.sign() * (size > 1e150).choose(size.log() + math.log(2), found)


def _acosh(x: Formula) -> Formula:
    more = x - 1
    return (x > 1e150).choose(x.log() + math.log(2), log1p(more + (more * (more + 2)).sqrt()))


def _atanh(x: Formula) -> Formula:
    size = x.abs()
    return x.sign() * log1p(size * 2 / (1 - size)) / 2


def _in_both(double: Callable[[Formula], Formula], single: str | Callable[[Formula], Formula]) -> Any:
    """double: for float64. single: the operator or function for the other dtypes."""

    def lowering(on: Operation, x: Value) -> Value:
        given = Formula(on, on.cast(x, on.dtype))
        if on.dtype is torch.float64:
            return double(given).value
        return (given.op(single) if isinstance(single, str) else single(given)).value

    return lowering


LOWERINGS.update(
    {
        aten.acos.default: _in_both(_acos, "Acos"),
        aten.acosh.default: _in_both(_acosh, "Acosh"),
        aten.asin.default: _in_both(_asin, "Asin"),
        aten.asinh.default: _in_both(_asinh, "Asinh"),
        aten.atan.default: _in_both(_atan, "Atan"),
        aten.atanh.default: _in_both(_atanh, "Atanh"),
        aten.cosh.default: _in_both(_cosh, "Cosh"),
        aten.sinh.default: _in_both(_sinh, "Sinh"),
        aten.tan.default: _in_both(lambda x: x.sin() / x.cos(), "Tan"),
        aten.log1p.default: _in_both(log1p, _single_log1p),
    }
)


def arctangent(on: Operation, x: Value) -> Value:
    found: Value = _in_both(_atan, "Atan")(on, x)
    return found

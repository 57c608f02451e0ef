"""Functions of one element, or of one of each operand."""

from __future__ import annotations

import math
from typing import Any

import torch

from modgrad.export.onnx.graph import Value
from modgrad.export.onnx.lowering.table import BROADCASTING, LOWERINGS, Operation, is_fixed, lowers, same_size

aten: Any = torch.ops.aten

# Of a float, with an operator of the same meaning. An integer is made a float first, as PyTorch does.
UNARY = {
    aten.acos.default: "Acos",
    aten.acosh.default: "Acosh",
    aten.asin.default: "Asin",
    aten.asinh.default: "Asinh",
    aten.atan.default: "Atan",
    aten.atanh.default: "Atanh",
    aten.cos.default: "Cos",
    aten.cosh.default: "Cosh",
    aten.erf.default: "Erf",
    aten.exp.default: "Exp",
    aten.log.default: "Log",
    aten.reciprocal.default: "Reciprocal",
    aten.sigmoid.default: "Sigmoid",
    aten.sin.default: "Sin",
    aten.sinh.default: "Sinh",
    aten.sqrt.default: "Sqrt",
    aten.tan.default: "Tan",
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
            return on.op("Not", x)
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


@lowers(aten.log1p.default)
def log1p(on: Operation, x: Value) -> Value:
    """log(1 + x) as 2 atanh(x / (2 + x)) where |x| is small, for which 1 + x would round x away."""
    x = on.cast(x, on.dtype)
    two, one = on.constant(2.0, on.dtype), on.constant(1.0, on.dtype)
    exact = on.op("Mul", two, on.op("Atanh", on.op("Div", x, on.op("Add", x, two))))
    small = on.op("Less", on.op("Abs", x), on.constant(0.5, on.dtype), dtype=torch.bool)
    return on.op("Where", small, exact, on.op("Log", on.op("Add", one, x)), dtype=x.dtype)


@lowers(aten.expm1.default)
def expm1(on: Operation, x: Value) -> Value:
    """exp(x) - 1 as 2 t / (1 - t), t = tanh(x / 2), where |x| is small, for which exp(x) would round x away."""
    x = on.cast(x, on.dtype)
    two, one = on.constant(2.0, on.dtype), on.constant(1.0, on.dtype)
    t = on.op("Tanh", on.op("Div", x, two))
    exact = on.op("Div", on.op("Mul", two, t), on.op("Sub", one, t))
    small = on.op("Less", on.op("Abs", x), one, dtype=torch.bool)
    return on.op("Where", small, exact, on.op("Sub", on.op("Exp", x), one), dtype=x.dtype)


# Two operands


@lowers(aten.add.Tensor, aten.add.Scalar)
def add(on: Operation, a: Any, b: Any, alpha: Any = 1) -> Value:
    if alpha == 1:
        for position, (product, bias) in enumerate(((a, b), (b, a))):
            if _is_lone_product(on, product, position) and _is_row(bias, product):
                left, right, options = on.graph.products[product.name]
                return on.op("Gemm", left, right, bias, **options)
    return _sum(on, "Add", a, b, alpha)


def _is_lone_product(on: Operation, x: Any, position: int) -> bool:
    """Whether this operand is a product of matrices that nobody else asks for, so that it can take a bias."""
    if not isinstance(x, Value) or x.name not in on.graph.products:
        return False
    source: Any = on.node.args[position]
    return len(source.users) == 1


def _is_row(x: Any, like: Value) -> bool:
    if not isinstance(x, Value) or x.dtype is not like.dtype or x.shape is None or like.shape is None:
        return False
    return len(x.shape) == 1 and is_fixed(x.shape[0]) and same_size(x.shape[0], like.shape[1])


@lowers(aten.sub.Tensor, aten.sub.Scalar)
def sub(on: Operation, a: Any, b: Any, alpha: Any = 1) -> Value:
    return _sum(on, "Sub", a, b, alpha)


@lowers(aten.rsub.Scalar, aten.rsub.Tensor)
def rsub(on: Operation, a: Any, b: Any, alpha: Any = 1) -> Value:
    return _sum(on, "Sub", b, a, alpha)


def _sum(on: Operation, kind: str, a: Any, b: Any, alpha: Any) -> Value:
    left, right = on.value(a, on.dtype), on.value(b, on.dtype)
    if on.dtype is torch.bool:
        return on.op("Or", left, right)
    if alpha != 1:  # of the one that is added or taken away
        right = on.op("Mul", right, on.constant(alpha, on.dtype))
    return on.op(kind, left, right)


@lowers(aten.mul.Tensor, aten.mul.Scalar)
def mul(on: Operation, a: Any, b: Any) -> Value:
    left, right = on.value(a, on.dtype), on.value(b, on.dtype)
    if on.dtype is torch.bool:
        return on.op("And", left, right)
    if _is_one(on, left) or _is_one(on, right):
        return left if _is_one(on, right) else right
    return on.op("Mul", left, right)


def _is_one(on: Operation, x: Value) -> bool:
    """Whether this is a number 1, which changes nothing as a factor."""
    held = on.graph.value_of(x)
    return held is not None and not held.dim() and bool(held == 1)


@lowers(aten.div.Tensor, aten.div.Scalar, aten.true_divide.Tensor)
def div(on: Operation, a: Any, b: Any) -> Value:
    left, right = on.value(a, on.dtype), on.value(b, on.dtype)
    return left if _is_one(on, right) else on.op("Div", left, right)


@lowers(aten.div.Tensor_mode, aten.div.Scalar_mode)
def div_mode(on: Operation, a: Any, b: Any, rounding_mode: str | None = None) -> Value:
    if rounding_mode is None:
        return div(on, a, b)
    left, right = on.value(a, on.dtype), on.value(b, on.dtype)
    if rounding_mode == "floor":
        return floor_quotient(on, left, right)
    quotient = on.op("Div", left, right)
    return truncated(on, quotient)


@lowers(aten.floor_divide.default, aten.floor_divide.Scalar)
def floor_divide(on: Operation, a: Any, b: Any) -> Value:
    return floor_quotient(on, on.value(a, on.dtype), on.value(b, on.dtype))


def truncated(on: Operation, x: Value) -> Value:
    if not x.dtype.is_floating_point:
        return x
    return on.op("Mul", on.op("Sign", x), on.op("Floor", on.op("Abs", x)))


def floor_quotient(on: Operation, a: Value, b: Value) -> Value:
    """floor(a / b), which for integers is what is left after the remainder of b's sign."""
    if not a.dtype.is_floating_point and on.graph.is_nonnegative(a) and on.graph.is_nonnegative(b):
        return on.graph.mark_nonnegative(on.op("Div", a, b))
    if a.dtype.is_floating_point:
        rest = floor_remainder(on, a, b)
        return on.op("Round", on.op("Div", on.op("Sub", a, rest), b))
    return on.op("Div", on.op("Sub", a, on.op("Mod", a, b)), b)


def floor_remainder(on: Operation, a: Value, b: Value) -> Value:
    """The remainder that has the sign of b."""
    if not a.dtype.is_floating_point:
        return on.op("Mod", a, b)
    rest = on.op("Mod", a, b, fmod=1)
    zero = on.constant(0.0, a.dtype)
    other = on.op("Less", on.op("Mul", on.op("Sign", rest), on.op("Sign", b)), zero, dtype=torch.bool)
    return on.op("Where", other, on.op("Add", rest, b), rest, dtype=a.dtype)


@lowers(aten.remainder.Tensor, aten.remainder.Scalar, aten.remainder.Scalar_Tensor)
def remainder(on: Operation, a: Any, b: Any) -> Value:
    return floor_remainder(on, on.value(a, on.dtype), on.value(b, on.dtype))


@lowers(aten.fmod.Tensor, aten.fmod.Scalar)
def fmod(on: Operation, a: Any, b: Any) -> Value:
    return on.op("Mod", on.value(a, on.dtype), on.value(b, on.dtype), fmod=1)


@lowers(aten.pow.Tensor_Tensor, aten.pow.Scalar)
def power(on: Operation, base: Any, exponent: Any) -> Value:
    return on.op("Pow", on.value(base, on.dtype), on.value(exponent, on.dtype))


@lowers(aten.pow.Tensor_Scalar)
def power_of_number(on: Operation, base: Value, exponent: Any) -> Value:
    """The exponents that PyTorch has a loop of its own for, as that computes them."""
    x = on.cast(base, on.dtype)
    if exponent in (1, 2, 3):
        result = x
        for _ in range(int(exponent) - 1):
            result = on.op("Mul", result, x)
        return result
    if on.dtype.is_floating_point and exponent in (0.5, -0.5, -1, -2):
        root = on.op("Sqrt", x) if abs(exponent) == 0.5 else on.op("Mul", x, x) if exponent == -2 else x
        return root if exponent > 0 else on.op("Reciprocal", root)
    return on.op("Pow", x, on.constant(exponent, on.dtype))


@lowers(aten.maximum.default)
def maximum(on: Operation, a: Value, b: Value) -> Value:
    return on.op("Max", *(on.value(x, on.dtype) for x in (a, b)))


@lowers(aten.minimum.default)
def minimum(on: Operation, a: Value, b: Value) -> Value:
    return on.op("Min", *(on.value(x, on.dtype) for x in (a, b)))


@lowers(aten.clamp.default, aten.clamp.Tensor)
def clamp(on: Operation, x: Value, min: Any = None, max: Any = None) -> Value:
    """Values that are not numbers stay so, and where the bounds cross the upper one wins."""
    x = on.value(x, on.dtype)
    if min is not None:
        x = on.op("Max", x, on.value(min, on.dtype))
    return x if max is None else on.op("Min", x, on.value(max, on.dtype))


@lowers(aten.clamp_min.default, aten.clamp_min.Tensor)
def clamp_min(on: Operation, x: Value, min: Any) -> Value:
    return clamp(on, x, min)


@lowers(aten.clamp_max.default, aten.clamp_max.Tensor)
def clamp_max(on: Operation, x: Value, max: Any) -> Value:
    return clamp(on, x, None, max)


# Comparisons

_COMPARISONS = {
    "eq": ("Equal", False),
    "ne": ("Equal", True),
    "lt": ("Less", False),
    "le": ("LessOrEqual", False),
    "gt": ("Greater", False),
    "ge": ("GreaterOrEqual", False),
}


def _comparison(kind: str, negated: bool) -> Any:
    def lowering(on: Operation, a: Any, b: Any) -> Value:
        found = on.op(kind, *comparable(on, a, b), dtype=torch.bool)
        return on.op("Not", found) if negated else found

    return lowering


def comparable(on: Operation, a: Any, b: Any) -> list[Value]:
    operands = on.values(a, b)
    if operands[0].dtype is torch.bool:
        return [on.cast(x, torch.int32) for x in operands]
    return operands


for _name, (_kind, _negated) in _COMPARISONS.items():
    _packet = getattr(aten, _name)
    LOWERINGS[_packet.Tensor] = LOWERINGS[_packet.Scalar] = _comparison(_kind, _negated)


# Choice


@lowers(aten.where.self, aten.where.ScalarSelf, aten.where.ScalarOther, aten.where.Scalar)
def where(on: Operation, condition: Value, a: Any, b: Any) -> Value:
    return chosen(on, condition, on.value(a, on.dtype), on.value(b, on.dtype))


def chosen(on: Operation, condition: Value, a: Value, b: Value) -> Value:
    if a.dtype is torch.bool:
        return on.op("Or", on.op("And", condition, a), on.op("And", on.op("Not", condition), b))
    return on.op("Where", condition, a, b, dtype=a.dtype)


@lowers(aten.masked_fill.Scalar, aten.masked_fill.Tensor)
def masked_fill(on: Operation, x: Value, mask: Value, value: Any) -> Value:
    return chosen(on, mask, on.value(value, on.dtype), x)


# Logic and bits


def _bits(kind: str, logical: str) -> Any:
    def lowering(on: Operation, a: Any, b: Any) -> Value:
        left, right = on.value(a, on.dtype), on.value(b, on.dtype)
        if on.dtype is torch.bool:
            return on.op(logical, left, right)
        result = on.op(kind, left, right)
        both = on.graph.is_nonnegative(left), on.graph.is_nonnegative(right)
        if (any if kind == "BitwiseAnd" else all)(both):
            on.graph.mark_nonnegative(result)
        return result

    return lowering


for _packets, _kind, _logical in (
    (("__and__", "bitwise_and"), "BitwiseAnd", "And"),
    (("__or__", "bitwise_or"), "BitwiseOr", "Or"),
    (("__xor__", "bitwise_xor"), "BitwiseXor", "Xor"),
):
    for _name in _packets:
        _packet = getattr(aten, _name)
        LOWERINGS[_packet.Tensor] = LOWERINGS[_packet.Scalar] = _bits(_kind, _logical)


@lowers(aten.__rshift__.Scalar, aten.bitwise_right_shift.Tensor_Scalar)
def right_shift(on: Operation, x: Value, places: int) -> Value:
    """ONNX shifts numbers without a sign only. One below 0 is shifted as its complement, which is not."""
    if on.dtype is not torch.int64:
        raise NotImplementedError(f"a shift of {on.dtype}")
    negative = None
    if not on.graph.is_nonnegative(x):
        negative = on.op("Where", below_zero(on, x), on.constant(-1, x.dtype), on.constant(0, x.dtype), dtype=x.dtype)
        x = on.op("BitwiseXor", x, negative)
    bits = on.cast(x, torch.uint64)
    found = on.cast(on.op("BitShift", bits, on.constant(places, torch.uint64), direction="RIGHT"), torch.int64)
    return on.graph.mark_nonnegative(found) if negative is None else on.op("BitwiseXor", found, negative)


def below_zero(on: Operation, x: Value) -> Value:
    return on.op("Less", x, on.constant(0, x.dtype), dtype=torch.bool)


@lowers(aten.logical_not.default)
def logical_not(on: Operation, x: Value) -> Value:
    return on.op("Not", on.cast(x, torch.bool))


@lowers(aten.isnan.default)
def isnan(on: Operation, x: Value) -> Value:
    return on.op("IsNaN", x, dtype=torch.bool)


@lowers(aten.isinf.default)
def isinf(on: Operation, x: Value) -> Value:
    return on.op("IsInf", x, dtype=torch.bool)


@lowers(aten._to_copy.default, aten.to.dtype)
def to_copy(on: Operation, x: Value, *_: Any, **__: Any) -> Value:
    """A float becomes an integer by cutting off, as in C."""
    return on.cast(x, on.dtype)


_ARITHMETIC = ("add", "sub", "rsub", "mul", "div", "where", "pow", "remainder")
BROADCASTING.update(
    getattr(packet, overload)
    for packet in (
        *(getattr(aten, name) for name in (*_COMPARISONS, *_ARITHMETIC)),
        *(aten.fmod, aten.floor_divide, aten.maximum, aten.minimum, aten.clamp, aten.masked_fill),
        *(aten.__and__, aten.__or__, aten.__xor__),
    )
    for overload in packet.overloads()
)

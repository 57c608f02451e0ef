"""Functions of one element of each operand: arithmetic, comparisons, choices, bits."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch.fx import Node

from modgrad.export.onnx.graph import Value
from modgrad.export.onnx.lowering.table import BROADCASTING, LOWERINGS, Operation, is_fixed, lowers, same_size

aten: Any = torch.ops.aten

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
    if _is(on, right, 0):  # which onnxruntime takes away by itself, but does so wrongly where two ask for the result
        return left
    return right if kind == "Add" and _is(on, left, 0) else on.op(kind, left, right)


@lowers(aten.mul.Tensor, aten.mul.Scalar)
def mul(on: Operation, a: Any, b: Any) -> Value:
    left, right = on.value(a, on.dtype), on.value(b, on.dtype)
    if on.dtype is torch.bool:
        return on.op("And", left, right)
    if _is(on, left, 1) or _is(on, right, 1):
        return left if _is(on, right, 1) else right
    return on.op("Mul", left, right)


def _is(on: Operation, x: Value, number: int) -> bool:
    """Whether this is a number that changes nothing: 0 as a summand, 1 as a factor."""
    held = on.graph.value_of(x)
    return held is not None and not held.dim() and bool(held == number)


@lowers(aten.div.Tensor, aten.div.Scalar, aten.true_divide.Tensor)
def div(on: Operation, a: Any, b: Any) -> Value:
    left, right = on.value(a, on.dtype), on.value(b, on.dtype)
    return left if _is(on, right, 1) else on.op("Div", left, right)


@lowers(aten.div.Tensor_mode, aten.div.Scalar_mode)
def div_mode(on: Operation, a: Any, b: Any, rounding_mode: str | None = None) -> Value:
    if rounding_mode is None:
        return div(on, a, b)
    left, right = on.value(a, on.dtype), on.value(b, on.dtype)
    if rounding_mode == "floor":
        return floor_quotient(on, left, right)
    quotient = on.op("Div", left, right)
    return truncated(on, quotient)


@lowers(aten.trunc.default)
def trunc(on: Operation, x: Value) -> Value:
    return truncated(on, x)


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


def _present(kind: str) -> Any:
    """The larger or smaller one; where one is not a number, the other."""

    def lowering(on: Operation, a: Value, b: Value) -> Value:
        a, b = on.value(a, on.dtype), on.value(b, on.dtype)
        found = on.op(kind, a, b)
        if not on.dtype.is_floating_point:
            return found
        found = on.op("Where", on.op("IsNaN", b, dtype=torch.bool), a, found, dtype=on.dtype)
        return on.op("Where", on.op("IsNaN", a, dtype=torch.bool), b, found, dtype=on.dtype)

    return lowering


lowers(aten.fmax.default)(_present("Max"))
lowers(aten.fmin.default)(_present("Min"))


@lowers(aten.xlogy.Tensor, aten.xlogy.Scalar_Self, aten.xlogy.Scalar_Other)
def xlogy(on: Operation, x: Any, y: Any) -> Value:
    """x log y, which is 0 for x = 0, unless y is not a number."""
    x, y = on.value(x, on.dtype), on.value(y, on.dtype)
    zero = on.op("Equal", x, on.constant(0, on.dtype), dtype=torch.bool)
    nothing = on.op("And", zero, on.op("Not", on.op("IsNaN", y, dtype=torch.bool)))
    return on.op("Where", nothing, on.constant(0, on.dtype), on.op("Mul", x, on.op("Log", y)), dtype=on.dtype)


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


# What is infinite only where a sum of products overflows, and what hands on the infinities of its first operand alone.
_PRODUCTS = {aten.mm.default, aten.addmm.default, aten.bmm.default, aten.convolution_backward.default}
_HANDING_ON = {
    operator.getitem,
    aten.threshold_backward.default,
    aten.max_pool2d_with_indices_backward.default,
    aten.avg_pool2d_backward.default,
    aten._unsafe_view.default,
    aten.view.default,
    aten.reshape.default,
    aten.permute.default,
    aten.transpose.int,
    aten.clone.default,
}


@lowers(aten.threshold_backward.default)
def threshold_backward(on: Operation, grad: Value, x: Value, threshold: Any) -> Value:
    """0 where x <= threshold, else dL/dy: as a product, which takes onnxruntime a tenth of the time of a choice, unless
    dL/dy may be infinite where x is not above, as that of sqrt is at 0."""
    if threshold == 0 and on.graph.is_nonnegative(x):  # as the output of ReLU is
        above = on.cast(x, torch.bool)
    else:
        above = on.op("Not", on.op("LessOrEqual", x, on.constant(threshold, x.dtype), dtype=torch.bool))
    if _overflows_only(on.node.args[0]):
        return on.op("Mul", grad, on.cast(above, grad.dtype))
    return on.op("Where", above, grad, on.constant(0.0, grad.dtype), dtype=grad.dtype)


def _overflows_only(gradient: Any) -> bool:
    """Whether it is of products, so that it is infinite only where numbers become too large."""
    if gradient.target is aten.add.Tensor:  # of a value with two uses
        return all(isinstance(x, Node) and _overflows_only(x) for x in gradient.args[:2])
    return gradient.target in _PRODUCTS or (gradient.target in _HANDING_ON and _overflows_only(gradient.args[0]))


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

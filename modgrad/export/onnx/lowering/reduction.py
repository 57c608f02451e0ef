"""Sums, means, largest values, and what runs along a dimension."""

from __future__ import annotations

from typing import Any

import torch

from modgrad.export.onnx.graph import Value
from modgrad.export.onnx.lowering.table import Operation, count, dims_of, lowers, rank

aten: Any = torch.ops.aten


def reduced(on: Operation, kind: str, x: Value, dims: Any = None, keepdim: bool = False) -> Value:
    """By an operator that takes dimensions. What has none is its own sum, mean or largest value."""
    places = dims_of(dims, rank(x))
    if not places:
        return x
    shape = None
    if x.shape is not None:
        shape = tuple(1 if d in places else s for d, s in enumerate(x.shape) if keepdim or d not in places)
    axes = None if len(places) == rank(x) else on.ints(*places)
    return on.op(kind, x, axes, keepdims=int(keepdim), shape=shape)


@lowers(aten.sum.default, aten.sum.dim_IntList)
def sum_(on: Operation, x: Value, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Value:
    return reduced(on, "ReduceSum", on.cast(x, on.dtype), dim, keepdim)


@lowers(aten.mean.default, aten.mean.dim)
def mean(on: Operation, x: Value, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Value:
    return reduced(on, "ReduceMean", on.cast(x, on.dtype), dim, keepdim)


@lowers(aten.amax.default)
def amax(on: Operation, x: Value, dim: Any = (), keepdim: bool = False) -> Value:
    return reduced(on, "ReduceMax", x, dim, keepdim)


@lowers(aten.amin.default)
def amin(on: Operation, x: Value, dim: Any = (), keepdim: bool = False) -> Value:
    return reduced(on, "ReduceMin", x, dim, keepdim)


@lowers(aten.max.default)
def max_(on: Operation, x: Value) -> Value:
    return reduced(on, "ReduceMax", x)


@lowers(aten.min.default)
def min_(on: Operation, x: Value) -> Value:
    return reduced(on, "ReduceMin", x)


@lowers(aten.prod.default, aten.prod.dim_int)
def prod(on: Operation, x: Value, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Value:
    return reduced(on, "ReduceProd", on.cast(x, on.dtype), dim, keepdim)


@lowers(aten.any.default, aten.any.dim, aten.any.dims)
def any_(on: Operation, x: Value, dim: Any = None, keepdim: bool = False) -> Value:
    return on.cast(reduced(on, "ReduceMax", on.cast(on.cast(x, torch.bool), torch.int32), dim, keepdim), torch.bool)


@lowers(aten.all.default, aten.all.dim, aten.all.dims)
def all_(on: Operation, x: Value, dim: Any = None, keepdim: bool = False) -> Value:
    return on.cast(reduced(on, "ReduceMin", on.cast(on.cast(x, torch.bool), torch.int32), dim, keepdim), torch.bool)


def _with_places(kind: str, position: str) -> Any:
    def lowering(on: Operation, x: Value, dim: int, keepdim: bool = False) -> tuple[Value | None, Value | None]:
        if rank(x) == 0:
            return x, on.constant(0, torch.int64)
        (dim,) = dims_of(dim, rank(x))
        values = reduced(on, kind, x, dim, keepdim) if on.used(0) else None
        found = on.op(position, x, dtype=torch.int64, axis=dim, keepdims=int(keepdim)) if on.used(1) else None
        return values, found

    return lowering


lowers(aten.max.dim)(_with_places("ReduceMax", "ArgMax"))
lowers(aten.min.dim)(_with_places("ReduceMin", "ArgMin"))


@lowers(aten.argmax.default)
def argmax(on: Operation, x: Value, dim: int | None = None, keepdim: bool = False) -> Value:
    return _place(on, "ArgMax", x, dim, keepdim)


@lowers(aten.argmin.default)
def argmin(on: Operation, x: Value, dim: int | None = None, keepdim: bool = False) -> Value:
    return _place(on, "ArgMin", x, dim, keepdim)


def _place(on: Operation, kind: str, x: Value, dim: int | None, keepdim: bool) -> Value:
    if dim is None:
        x = on.op("Reshape", x, on.ints(-1), shape=(count(x.shape or ()),))
    return on.op(kind, x, dtype=torch.int64, axis=0 if dim is None else dim % rank(x), keepdims=int(keepdim))


@lowers(aten.softmax.int, aten._softmax.default)
def softmax(on: Operation, x: Value, dim: int, dtype: Any = None) -> Value:
    return _normalised(on, "Softmax", x, dim)


@lowers(aten.log_softmax.int, aten._log_softmax.default)
def log_softmax(on: Operation, x: Value, dim: int, dtype: Any = None) -> Value:
    return _normalised(on, "LogSoftmax", x, dim)


def _normalised(on: Operation, kind: str, x: Value, dim: int) -> Value:
    x = on.cast(x, on.dtype)
    if rank(x) == 0:
        one = on.op(kind, on.unsqueeze(x, 0), axis=0)
        return on.op("Squeeze", one, on.ints(0))
    return on.op(kind, x, axis=dim % rank(x))


@lowers(aten.cumsum.default)
def cumsum(on: Operation, x: Value, dim: int, dtype: Any = None) -> Value:
    x = on.cast(x, on.dtype)
    return x if rank(x) == 0 else on.op("CumSum", x, on.constant(dim % rank(x), torch.int64))


@lowers(aten.var.correction)
def var(on: Operation, x: Value, dim: Any = None, correction: Any = None, keepdim: bool = False) -> Value:
    """sum (x - mean)^2 / (n - correction)."""
    places = dims_of(dim, rank(x))
    away = on.op("Sub", x, reduced(on, "ReduceMean", x, places, True), shape=x.shape)
    total = reduced(on, "ReduceSum", on.op("Mul", away, away, shape=x.shape), places, keepdim)
    n = on.value(count([(x.shape or ())[d] for d in places]), on.dtype)
    less = on.constant(1 if correction is None else correction, on.dtype)
    return on.op("Div", total, on.op("Max", on.op("Sub", n, less), on.constant(0, on.dtype)))


@lowers(aten.std.correction)
def std(on: Operation, x: Value, dim: Any = None, correction: Any = None, keepdim: bool = False) -> Value:
    return on.op("Sqrt", var(on, x, dim, correction=correction, keepdim=keepdim))


@lowers(aten.linalg_vector_norm.default)
def vector_norm(
    on: Operation, x: Value, ord: Any = 2, dim: Any = None, keepdim: bool = False, dtype: Any = None
) -> Value:
    """(sum |x|^p)^(1/p); the largest for p = inf, the smallest for -inf, how many are not 0 for p = 0."""
    x = on.cast(x, on.dtype)
    size = on.op("Abs", x, shape=x.shape)
    if abs(ord) == float("inf"):
        return reduced(on, "ReduceMax" if ord > 0 else "ReduceMin", size, dim, keepdim)
    if ord == 2:
        return on.op("Sqrt", reduced(on, "ReduceSum", on.op("Mul", x, x, shape=x.shape), dim, keepdim))
    if ord == 0:
        there = on.op("Sign", size, shape=x.shape)
        return reduced(on, "ReduceSum", there, dim, keepdim)
    if ord == 1:
        return reduced(on, "ReduceSum", size, dim, keepdim)
    powers = on.op("Pow", size, on.constant(float(ord), on.dtype), shape=x.shape)
    total = reduced(on, "ReduceSum", powers, dim, keepdim)
    return on.op("Pow", total, on.constant(1 / float(ord), on.dtype))

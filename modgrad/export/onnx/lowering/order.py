"""Sorting, and what stands at a place of the order."""

from __future__ import annotations

from typing import Any

import torch

from modgrad.export.onnx.graph import Size, Value
from modgrad.export.onnx.lowering.table import Operation, count, dims_of, fixed, lowers, rank

aten: Any = torch.ops.aten
_NATIVE = (torch.float32, torch.float64, torch.int32, torch.int64)  # that onnxruntime sorts
Pair = tuple[Value, Value]


def sorted_(on: Operation, x: Value, k: Size, dim: int, largest: bool) -> Pair:
    """The k first values along `dim` and their places, of equal ones the one that stands first. What is not a number
    counts as infinite."""
    if rank(x) == 0:
        return x, on.constant(0, torch.int64)
    key = x if x.dtype in _NATIVE else on.cast(x, torch.float32 if x.dtype.is_floating_point else torch.int32)
    if x.dtype.is_floating_point:
        key = on.op("Where", _is_nan(on, key), on.constant(float("inf"), key.dtype), key, dtype=key.dtype)
    dim = dim % rank(x)
    shape = tuple(k if d == dim else size for d, size in enumerate(x.shape or ()))
    many = on.vector([k])
    _, places = on.op("TopK", key, many, outputs=2, dtypes=[torch.int64], axis=dim, largest=int(largest))
    places = on.graph.mark_nonnegative(places._replace(shape=shape))
    return on.op("GatherElements", x, places, axis=dim, shape=shape), places


def _is_nan(on: Operation, x: Value) -> Value:
    return on.op("IsNaN", x, dtype=torch.bool, shape=x.shape)


@lowers(aten.sort.default)
def sort(on: Operation, x: Value, dim: int = -1, descending: bool = False) -> Pair:
    return sorted_(on, x, (x.shape or (1,))[dim], dim, descending)


@lowers(aten.sort.stable)
def sort_stable(on: Operation, x: Value, *, stable: Any = None, dim: int = -1, descending: bool = False) -> Pair:
    return sort(on, x, dim, descending)


@lowers(aten.argsort.default)
def argsort(on: Operation, x: Value, dim: int = -1, descending: bool = False) -> Value:
    return sort(on, x, dim, descending)[1]


@lowers(aten.topk.default)
def topk(on: Operation, x: Value, k: Size, dim: int = -1, largest: bool = True, sorted: bool = True) -> Pair:
    return sorted_(on, x, k, dim, largest)


def _kept(on: Operation, pair: Pair, dim: int, keepdim: bool) -> Pair:
    """Results with one place along `dim`, with or without it."""
    first, second = pair
    if keepdim or not rank(first):
        return pair
    return on.squeeze(first, dim), on.squeeze(second, dim)


def _last(on: Operation, x: Value, k: Size, dim: int) -> Pair:
    """The k-th smallest."""
    if rank(x) == 0:
        return x, on.constant(0, torch.int64)
    values, places = sorted_(on, x, k, dim, False)
    last = on.vector([k - 1])
    shape = tuple(1 if d == dim else size for d, size in enumerate(x.shape or ()))
    found = (on.op("Gather", each, last, axis=dim, shape=shape) for each in (values, places))
    return next(found), next(found)


@lowers(aten.kthvalue.default)
def kthvalue(on: Operation, x: Value, k: Size, dim: int = -1, keepdim: bool = False) -> Pair:
    dim = dim % max(rank(x), 1)
    return _kept(on, _last(on, x, k, dim), dim, keepdim)


@lowers(aten.median.dim)
def median_along(on: Operation, x: Value, dim: int = -1, keepdim: bool = False) -> Pair:
    """Of an even number the lower one; the first that is not a number, if there is one."""
    if rank(x) == 0:
        return x, on.constant(0, torch.int64)
    dim = dim % rank(x)
    size = (x.shape or ())[dim]
    value, place = _last(on, x, (size + 1) // 2, dim)
    if x.dtype.is_floating_point:
        nan = on.cast(_is_nan(on, x), torch.int32)
        where = on.op("ArgMax", nan, dtype=torch.int64, axis=dim, keepdims=1)
        some = on.cast(on.op("ReduceMax", nan, on.ints(dim), keepdims=1), torch.bool)
        place = on.op("Where", some, where, place, dtype=torch.int64, shape=place.shape)
        value = on.op("GatherElements", x, place, axis=dim, shape=place.shape)
    return _kept(on, (value, place), dim, keepdim)


@lowers(aten.nanmedian.dim)
def nanmedian_along(on: Operation, x: Value, dim: int = -1, keepdim: bool = False) -> Pair:
    """Of those that are numbers, which stand first."""
    if rank(x) == 0:
        return x, on.constant(0, torch.int64)
    dim = dim % rank(x)
    if not x.dtype.is_floating_point:
        return median_along(on, x, dim, keepdim)
    _, places = sorted_(on, x, (x.shape or ())[dim], dim, False)
    shape = tuple(1 if d == dim else size for d, size in enumerate(x.shape or ()))
    there = on.cast(on.op("Not", _is_nan(on, x)), torch.int64)
    number = on.op("ReduceSum", there, on.ints(dim), keepdims=1)
    middle = on.op("Div", on.op("Sub", number, on.constant(1, torch.int64)), on.constant(2, torch.int64))
    middle = on.op("Max", middle, on.constant(0, torch.int64))
    place = on.op("GatherElements", places, middle, axis=dim, shape=shape)
    value = on.op("GatherElements", x, place, axis=dim, shape=shape)
    return _kept(on, (value, place), dim, keepdim)


def _of_all(along: Any) -> Any:
    def lowering(on: Operation, x: Value) -> Value:
        value, _ = along(on, on.reshape(x, (count(x.shape or ()),)), 0, False)
        return value

    return lowering


lowers(aten.median.default)(_of_all(median_along))
lowers(aten.nanmedian.default)(_of_all(nanmedian_along))


@lowers(aten.mode.default)
def mode(on: Operation, x: Value, dim: int = -1, keepdim: bool = False) -> Pair:
    """The value that is there most often, the smallest of several, at its last place: each compared with each."""
    if rank(x) == 0:
        return x, on.constant(0, torch.int64)
    dim = dim % rank(x)
    n = rank(x)
    order = [*(d for d in range(n) if d != dim), dim]
    last = on.transpose(x, order)
    key = last if last.dtype in _NATIVE else on.cast(last, torch.float32 if x.dtype.is_floating_point else torch.int32)
    same = on.op("Equal", on.unsqueeze(key, n), on.unsqueeze(key, n - 1), dtype=torch.bool)
    often = on.op("ReduceSum", on.cast(same, torch.int64), on.ints(n), keepdims=0)
    most = on.op("Equal", often, on.op("ReduceMax", often, on.ints(n - 1), keepdims=1), dtype=torch.bool)
    bound = float("inf") if key.dtype.is_floating_point else torch.iinfo(key.dtype).max
    among = on.op("Where", most, key, on.constant(bound, key.dtype), dtype=key.dtype)
    lowest = on.op("Equal", key, on.op("ReduceMin", among, on.ints(n - 1), keepdims=1), dtype=torch.bool)
    place = on.op(
        "ArgMax", on.cast(lowest, torch.int32), dtype=torch.int64, axis=n - 1, keepdims=1, select_last_index=1
    )
    shape = tuple(1 if d == n - 1 else size for d, size in enumerate(last.shape or ()))
    value = on.op("GatherElements", last, place, axis=n - 1, shape=shape)
    back = [order.index(d) for d in range(n)]
    value, place = (on.transpose(each._replace(shape=shape), back) for each in (value, place))
    return _kept(on, (value, place), dim, keepdim)


# Running results: each with the one a step before, then two, then four


def running(on: Operation, parts: tuple[Value, ...], dim: int, combine: Any, first: tuple[Any, ...]) -> Any:
    """What is combined of all values up to each. combine(earlier, own): associative. first: what changes nothing."""
    (dim,) = dims_of(dim, rank(parts[0]))
    size = fixed((parts[0].shape or ())[dim], "a running maximum, product or logarithm of a sum")
    shape = parts[0].shape
    step = 1
    while step < size:
        edges = [0] * (2 * rank(parts[0]))
        edges[dim] = step
        before = []
        for x, value in zip(parts, first, strict=True):
            earlier = on.op("Slice", x, on.ints(0), on.ints(size - step), on.ints(dim))
            before.append(on.op("Pad", earlier, on.ints(*edges), on.constant(value, x.dtype), shape=shape))
        parts = tuple(y._replace(shape=shape) for y in combine(tuple(before), parts))
        step *= 2
    return parts


def _running_extreme(kind: str, bound: str) -> Any:
    def lowering(on: Operation, x: Value, dim: int) -> Pair:
        """With the last place of several, and the last that is not a number."""
        if rank(x) == 0:
            return x, on.constant(0, torch.int64)
        dim = dim % rank(x)
        key = x if x.dtype in _NATIVE else on.cast(x, torch.float32 if x.dtype.is_floating_point else torch.int32)
        floats = key.dtype.is_floating_point
        limits = None if floats else torch.iinfo(key.dtype)
        least = float(bound) if limits is None else limits.min if bound == "-inf" else limits.max
        size = (x.shape or ())[dim]
        line = on.op("Range", *(on.value(i, torch.int64) for i in (0, size, 1)), shape=(size,))
        line = on.reshape(line, [size if d == dim else 1 for d in range(rank(x))])
        places = on.expand(line, x.shape or ())

        def combine(earlier: Pair, own: Pair) -> Pair:
            takes = on.op(kind, earlier[0], own[0], dtype=torch.bool)
            if floats:
                takes = on.op("Or", takes, _is_nan(on, earlier[0]))
                takes = on.op("And", takes, on.op("Not", _is_nan(on, own[0])))
            values = on.op("Where", takes, earlier[0], own[0], dtype=key.dtype)
            return values, on.op("Where", takes, earlier[1], own[1], dtype=torch.int64)

        values, places = running(on, (key, places), dim, combine, (least, 0))
        return on.cast(values, x.dtype), places

    return lowering


lowers(aten.cummax.default)(_running_extreme("Greater", "-inf"))
lowers(aten.cummin.default)(_running_extreme("Less", "inf"))


@lowers(aten.cumprod.default)
def cumprod(on: Operation, x: Value, dim: int, dtype: Any = None) -> Value:
    x = on.cast(x, on.dtype)
    if rank(x) == 0:
        return x
    (found,) = running(on, (x,), dim, lambda a, b: (on.op("Mul", a[0], b[0]),), (1,))
    return found


@lowers(aten.logcumsumexp.default)
def logcumsumexp(on: Operation, x: Value, dim: int) -> Value:
    """By log(e^a + e^b) = max + log(1 + e^-|a - b|)."""
    if rank(x) == 0:
        return x
    one = on.constant(1, x.dtype)

    def combine(a: tuple[Value], b: tuple[Value]) -> tuple[Value]:
        largest = on.op("Max", a[0], b[0])
        away = on.op("Neg", on.op("Abs", on.op("Sub", a[0], b[0])))
        total = on.op("Add", largest, on.op("Log", on.op("Add", one, on.op("Exp", away))))
        # Where both are infinite alike, their distance is no number
        alike = on.op("And", on.op("Equal", a[0], b[0], dtype=torch.bool), on.op("IsInf", a[0], dtype=torch.bool))
        return (on.op("Where", alike, a[0], total, dtype=x.dtype),)

    (found,) = running(on, (x,), dim, combine, (float("-inf"),))
    return found

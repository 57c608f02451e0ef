"""Values in their order, and what runs along a dimension by doubling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from modgrad.export.onnx.graph import Value
from modgrad.export.onnx.lowering.reduction import reduced
from modgrad.export.onnx.lowering.table import Operation, is_fixed, lowers, rank

aten: Any = torch.ops.aten


def _sorted(on: Operation, x: Value, dim: int, descending: bool = False, k: Any = None) -> tuple[Value, Value]:
    """The first k values, all by default, and their places; of equal ones the earlier is first."""
    size = (x.shape or ())[dim] if k is None else k
    found: tuple[Value, Value] = on.op(
        "TopK", x, on.vector([size]), axis=dim, largest=int(descending), outputs=2, dtypes=[torch.int64]
    )
    values, places = found
    shape = tuple(size if d == dim else s for d, s in enumerate(x.shape or ()))
    return values._replace(shape=shape), places._replace(shape=shape)


def _lone(on: Operation, x: Value) -> tuple[Value, Value]:
    """Of a number without dimensions: itself, at place 0."""
    return x, on.constant(0, torch.int64)


@lowers(aten.topk.default)
def topk(
    on: Operation, x: Value, k: int, dim: int = -1, largest: bool = True, sorted: bool = True
) -> tuple[Value, Value]:
    return _sorted(on, x, dim % rank(x), largest, k) if rank(x) else _lone(on, x)


@lowers(aten.sort.stable)
def sort_stable(
    on: Operation, x: Value, *, stable: bool | None = None, dim: int = -1, descending: bool = False
) -> tuple[Value, Value]:
    return _sorted(on, x, dim % rank(x), descending) if rank(x) else _lone(on, x)


@lowers(aten.sort.default)
def sort(on: Operation, x: Value, dim: int = -1, descending: bool = False) -> tuple[Value, Value]:
    return sort_stable(on, x, dim=dim, descending=descending)


@lowers(aten.kthvalue.default)
def kthvalue(on: Operation, x: Value, k: int, dim: int = -1, keepdim: bool = False) -> tuple[Value, Value]:
    if not rank(x):
        return _lone(on, x)
    dim %= rank(x)
    return _at(on, *_sorted(on, x, dim), on.constant(k - 1, torch.int64), dim, keepdim)


def _at(on: Operation, values: Value, places: Value, number: Value, dim: int, keepdim: bool) -> tuple[Value, Value]:
    """The value and place at one number along the order."""
    at = on.unsqueeze(number, 0) if keepdim else number
    return on.op("Gather", values, at, axis=dim), on.op("Gather", places, at, axis=dim)


@lowers(aten.median.dim)
def median(on: Operation, x: Value, dim: int, keepdim: bool = False) -> tuple[Value, Value]:
    """The lower of the two in the middle; not a number, at its place, where there is one that is none."""
    if not rank(x):
        return _lone(on, x)
    dim %= rank(x)
    size = on.sizes.scalar((x.shape or ())[dim])
    middle = on.op("Div", on.op("Sub", size, on.constant(1, torch.int64)), on.constant(2, torch.int64), shape=())
    value, place = _at(on, *_sorted(on, _last(on, x), dim), middle, dim, keepdim)
    if not x.dtype.is_floating_point:
        return value, place
    missing = on.cast(on.op("IsNaN", x, dtype=torch.bool, shape=x.shape), torch.int32)
    first = on.op("ArgMax", missing, dtype=torch.int64, axis=dim, keepdims=int(keepdim))
    some = on.cast(reduced(on, "ReduceMax", missing, dim, keepdim), torch.bool)
    return (
        on.op("Where", some, on.constant(float("nan"), x.dtype), value, dtype=x.dtype),
        on.op("Where", some, first, place, dtype=torch.int64),
    )


def _last(on: Operation, x: Value) -> Value:
    """With infinity for what is not a number, so that it comes last."""
    if not x.dtype.is_floating_point:
        return x
    missing = on.op("IsNaN", x, dtype=torch.bool)
    return on.op("Where", missing, on.constant(float("inf"), x.dtype), x, dtype=x.dtype, shape=x.shape)


@lowers(aten.nanmedian.dim)
def nanmedian(on: Operation, x: Value, dim: int, keepdim: bool = False) -> tuple[Value, Value]:
    """Of those that are numbers; not one where there is none."""
    if not rank(x):
        return _lone(on, x)
    dim %= rank(x)
    values, places = _sorted(on, _last(on, x), dim)
    there = on.cast(on.op("Not", on.op("IsNaN", x, dtype=torch.bool), shape=x.shape), torch.int64)
    count = reduced(on, "ReduceSum", there, dim, True)
    one, two, zero = (on.constant(n, torch.int64) for n in (1, 2, 0))
    middle = on.op("Max", on.op("Div", on.op("Sub", count, one), two), zero)
    value = on.op("GatherElements", values, middle, axis=dim)
    place = on.op("GatherElements", places, middle, axis=dim)
    none = on.op("Equal", count, zero, dtype=torch.bool)
    value = on.op("Where", none, on.constant(float("nan"), x.dtype), value, dtype=x.dtype)
    if keepdim:
        return value, place
    return on.squeeze(value, dim), on.squeeze(place, dim)


@lowers(aten.median.default)
def median_of_all(on: Operation, x: Value) -> Value:
    return median(on, _flat(on, x), 0)[0]


@lowers(aten.nanmedian.default)
def nanmedian_of_all(on: Operation, x: Value) -> Value:
    return nanmedian(on, _flat(on, x), 0)[0]


def _flat(on: Operation, x: Value) -> Value:
    size: Any = 1
    for each in x.shape or ():
        size = size * each
    return on.reshape(x, (size,))


@lowers(aten.mode.default)
def mode(on: Operation, x: Value, dim: int = -1, keepdim: bool = False) -> tuple[Value, Value]:
    """The smallest of those that occur most often, and its last place: each compared with each."""
    if not rank(x):
        return _lone(on, x)
    dim %= rank(x)
    same = on.op("Equal", on.unsqueeze(x, dim), on.unsqueeze(x, dim + 1), dtype=torch.bool)
    shape = (*(x.shape or ())[: dim + 1], (x.shape or ())[dim], *(x.shape or ())[dim + 1 :])
    count = reduced(on, "ReduceSum", on.cast(same, torch.int64)._replace(shape=shape), dim + 1)
    most = on.op("Equal", count, reduced(on, "ReduceMax", count, dim, True), dtype=torch.bool)
    candidates = on.op("Where", most, x, on.constant(float("inf"), x.dtype), dtype=x.dtype, shape=x.shape)
    value = reduced(on, "ReduceMin", candidates, dim, True)
    here = on.cast(on.op("Equal", x, value, dtype=torch.bool, shape=x.shape), torch.int32)
    place = on.op("ArgMax", here, dtype=torch.int64, axis=dim, keepdims=int(keepdim), select_last_index=1)
    return (value if keepdim else on.squeeze(value, dim)), place


# Running products, largest values, logarithms of sums: each value meets the one 1, 2, 4, ... places before it.

Values = tuple[Value, ...]


def _doubled(
    on: Operation, values: Values, neutral: tuple[Any, ...], dim: int, meet: Callable[[Values, Values], Values]
) -> Values:
    """meet(earlier, later) for all before and at each place. neutral: what stands before the first."""
    shape = values[0].shape or ()
    size = shape[dim]
    if not is_fixed(size):
        raise NotImplementedError("what runs along a dimension whose size is free")
    step = 1
    while step < int(size):
        before = []
        for value, start in zip(values, neutral, strict=True):
            edge = tuple(step if d == dim else s for d, s in enumerate(shape))
            front = on.op("Expand", on.constant(start, value.dtype), on.vector(edge), shape=edge)
            kept = on.slice(value._replace(shape=shape), dim, 0, int(size) - step)
            before.append(on.op("Concat", front, kept, axis=dim, shape=shape))
        values = meet(tuple(before), values)
        step *= 2
    return values


@lowers(aten.cumprod.default)
def cumprod(on: Operation, x: Value, dim: int, dtype: Any = None) -> Value:
    x = on.cast(x, on.dtype)
    if not rank(x):
        return x
    return _doubled(on, (x,), (1,), dim % rank(x), lambda a, b: (on.op("Mul", a[0], b[0]),))[0]


@lowers(aten.logcumsumexp.default)
def logcumsumexp(on: Operation, x: Value, dim: int) -> Value:
    if not rank(x):
        return x
    low = float("-inf")

    def meet(a: Values, b: Values) -> Values:
        """max + log(1 + exp(min - max)), which is -inf for two of these."""
        top, bottom = on.op("Max", a[0], b[0]), on.op("Min", a[0], b[0])
        apart = on.op("Sub", bottom, top)
        more = on.op("Log", on.op("Add", on.constant(1.0, x.dtype), on.op("Exp", apart)))
        same = on.op("IsInf", top, dtype=torch.bool)
        return (on.op("Where", same, top, on.op("Add", top, more), dtype=x.dtype),)

    return _doubled(on, (x,), (low,), dim % rank(x), meet)[0]


def _running(kind: str, start: float) -> Any:
    def lowering(on: Operation, x: Value, dim: int) -> Values:
        if not rank(x):
            return _lone(on, x)
        dim %= rank(x)
        shape = x.shape or ()
        line = on.op("Range", *(on.value(n, torch.int64) for n in (0, shape[dim], 1)), dtype=torch.int64)
        line = on.reshape(line, [shape[dim] if d == dim else 1 for d in range(rank(x))])
        places = on.op("Expand", line, on.vector(shape), shape=shape)

        def meet(a: Values, b: Values) -> Values:
            """The earlier one if it is beyond the later."""
            beyond = on.op(kind, a[0], b[0], dtype=torch.bool)
            return (
                on.op("Where", beyond, a[0], b[0], dtype=x.dtype),
                on.op("Where", beyond, a[1], b[1], dtype=torch.int64),
            )

        return _doubled(on, (x, places), (start, 0), dim, meet)

    return lowering


lowers(aten.cummax.default)(_running("Greater", float("-inf")))
lowers(aten.cummin.default)(_running("Less", float("inf")))

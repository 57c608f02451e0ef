"""Values taken from places, and put at places, that an index names."""

from __future__ import annotations

from typing import Any

import torch

from modgrad.export.onnx.graph import Size, Value
from modgrad.export.onnx.lowering.elementwise import floor_quotient
from modgrad.export.onnx.lowering.shape import diagonal_last
from modgrad.export.onnx.lowering.table import Operation, dims_of, lowers, rank, same_shape

aten: Any = torch.ops.aten


@lowers(aten.gather.default)
def gather(on: Operation, x: Value, dim: int, index: Value, sparse_grad: bool = False) -> Value:
    if rank(x) == 0:
        return x
    return on.op("GatherElements", x, on.indices(index), axis=dim % rank(x))


@lowers(aten.index_select.default)
def index_select(on: Operation, x: Value, dim: int, index: Value) -> Value:
    if rank(x) == 0:
        return x
    return on.op("Gather", x, _vector(on, on.indices(index)), axis=dim % rank(x))


@lowers(aten.embedding.default)
def embedding(on: Operation, weight: Value, index: Value, *_: Any) -> Value:
    return on.op("Gather", weight, on.indices(index), axis=0)


def _vector(on: Operation, index: Value) -> Value:
    index = on.cast(index, torch.int64)
    return index if rank(index) else on.unsqueeze(index, 0)


# By several indices at once: x[i, j], x[:, i]


@lowers(aten.index.Tensor, aten._unsafe_index.Tensor)
def index(on: Operation, x: Value, indices: list[Value | None]) -> Value:
    given = [(d, i) for d, i in enumerate(indices) if i is not None]
    if any(i.dtype in (torch.bool, torch.uint8) for _, i in given):
        raise NotImplementedError("an index of bools, whose result has a shape that depends on them")
    if len(given) == 1:
        ((dim, only),) = given
        return on.op("Gather", x, on.cast(only, torch.int64), axis=dim)
    order, places = _joined(on, x, given)
    found = on.op("GatherND", on.transpose(x, order), places)
    # The indices' dimensions stand first, and belong where the first of adjacent ones was
    dims = [d for d, _ in given]
    wide = rank(places) - 1
    if dims != list(range(dims[0], dims[0] + len(dims))) or dims[0] == 0:
        return found
    before = list(range(wide, wide + dims[0]))
    n = len(on.shape)
    return on.op("Transpose", found, perm=[*before, *range(wide), *range(wide + dims[0], n)])


def _joined(on: Operation, x: Value, given: list[tuple[int, Value]]) -> tuple[list[int], Value]:
    """The indexed dimensions first, and the indices (..., how many there are) into them."""
    dims = [d for d, _ in given]
    order = [*dims, *(d for d in range(rank(x)) if d not in dims)]
    shape = tuple(torch.broadcast_shapes(*(tuple(i.shape or ()) for _, i in given)))
    parts = [on.unsqueeze(on.expand(on.cast(i, torch.int64), shape), len(shape)) for _, i in given]
    joined = parts[0] if len(parts) == 1 else on.op("Concat", *parts, axis=len(shape))
    return order, joined._replace(shape=(*shape, len(parts)))


@lowers(aten.index_put.default, aten._unsafe_index_put.default)
def index_put(on: Operation, x: Value, indices: list[Value | None], values: Value, accumulate: bool = False) -> Value:
    given = [(d, i) for d, i in enumerate(indices) if i is not None]
    if any(i.dtype in (torch.bool, torch.uint8) for _, i in given):
        raise NotImplementedError("an index of bools, which puts values at places that depend on them")
    dims = [d for d, _ in given]
    if dims != list(range(len(dims))):
        raise NotImplementedError("index_put that leaves out a dimension before an indexed one")
    _, places = _joined(on, x, given)
    shape = (*(places.shape or ())[:-1], *(x.shape or ())[len(dims) :])
    updates = on.expand(on.cast(values, x.dtype), shape)
    return on.op("ScatterND", x, places, updates, reduction="add" if accumulate else None)


@lowers(aten.take.default)
def take(on: Operation, x: Value, index: Value) -> Value:
    flat = on.op("Reshape", x, on.ints(-1))
    return on.op("Gather", flat, on.cast(index, torch.int64), axis=0)


# Put at places along one dimension, an index for each element


@lowers(aten.scatter.src)
def scatter(on: Operation, x: Value, dim: int, index: Value, src: Value) -> Value:
    return _elements(on, x, dim, index, src)


@lowers(aten.scatter.value)
def scatter_value(on: Operation, x: Value, dim: int, index: Value, value: Any) -> Value:
    return _elements(on, x, dim, index, on.expand(on.constant(value, x.dtype), index.shape or ()))


@lowers(aten.scatter_add.default)
def scatter_add(on: Operation, x: Value, dim: int, index: Value, src: Value) -> Value:
    return _elements(on, x, dim, index, src, "add")


_REDUCTIONS = {"sum": "add", "prod": "mul", "amax": "max", "amin": "min"}


@lowers(aten.scatter_reduce.two)
def scatter_reduce(
    on: Operation, x: Value, dim: int, index: Value, src: Value, reduce: str, *, include_self: bool = True
) -> Value:
    """Where x takes no part, a place that values come to begins with what leaves them as they are."""
    if reduce == "mean":
        one = on.expand(on.constant(1, x.dtype), index.shape or ())
        start = on.expand(on.constant(int(include_self), x.dtype), x.shape or ())
        number = on.op("Max", _elements(on, start, dim, index, one, "add"), on.constant(1, x.dtype))
        total = scatter_reduce(on, x, dim, index, src, "sum", include_self=include_self)
        return on.op("Div", total, number) if x.dtype.is_floating_point else floor_quotient(on, total, number)
    if not include_self:
        lowest = torch.finfo(x.dtype) if x.dtype.is_floating_point else torch.iinfo(x.dtype)
        infinite = x.dtype.is_floating_point
        neutral = {
            "sum": 0,
            "prod": 1,
            "amax": float("-inf") if infinite else lowest.min,
            "amin": float("inf") if infinite else lowest.max,
        }[reduce]
        x = _elements(on, x, dim, index, on.expand(on.constant(neutral, x.dtype), index.shape or ()))
    return _elements(on, x, dim, index, src, _REDUCTIONS[reduce])


def _elements(on: Operation, x: Value, dim: int, index: Value, src: Value, reduction: str | None = None) -> Value:
    index = on.indices(index)
    if not on.shape:
        found = _elements_of(on, on.reshape(x, (1,)), 0, on.reshape(index, (1,)), on.reshape(src, (1,)), reduction)
        return on.op("Squeeze", found, on.ints(0))
    return _elements_of(on, x, dim % len(on.shape), index, src, reduction)


def _elements_of(on: Operation, x: Value, dim: int, index: Value, src: Value, reduction: str | None) -> Value:
    if not same_shape(src.shape or (), index.shape or ()):  # of which only as much as there are indices is read
        for d, (size, own) in enumerate(zip(index.shape or (), src.shape or (), strict=True)):
            if not same_shape((size,), (own,)):
                src = on.op("Slice", src, on.ints(0), on.vector([size]), on.ints(d))
    return on.op("ScatterElements", x, index, on.cast(src, x.dtype), axis=dim, reduction=reduction, shape=x.shape)


# Put at places along one dimension, an index for each slice


@lowers(aten.index_add.default)
def index_add(on: Operation, x: Value, dim: int, index: Value, src: Value, alpha: Any = 1) -> Value:
    if alpha != 1:
        src = on.op("Mul", src, on.constant(alpha, src.dtype), shape=src.shape)
    return _slices(on, x, dim, on.indices(index), src, "add")


@lowers(aten.index_copy.default)
def index_copy(on: Operation, x: Value, dim: int, index: Value, src: Value) -> Value:
    return _slices(on, x, dim, on.indices(index), src, None)


@lowers(aten.index_fill.int_Scalar, aten.index_fill.int_Tensor)
def index_fill(on: Operation, x: Value, dim: int, index: Value, value: Any) -> Value:
    index = _vector(on, index)
    (size,) = index.shape or ()
    if rank(x) == 0:
        return on.value(value, x.dtype)
    shape = tuple(size if d == dim % rank(x) else s for d, s in enumerate(x.shape or ()))
    return _slices(on, x, dim, index, on.expand(on.value(value, x.dtype), shape), None)


def _slices(on: Operation, x: Value, dim: int, index: Value, src: Value, reduction: str | None) -> Value:
    if rank(x) == 0:
        x, src = on.reshape(x, (1,)), on.reshape(src, (1,))
        return on.op("Squeeze", _slices(on, x, 0, index, src, reduction), on.ints(0))
    (dim,) = dims_of(dim, rank(x))
    order = [dim, *(d for d in range(rank(x)) if d != dim)]
    places = on.unsqueeze(_vector(on, index), 1)
    target, updates = on.transpose(x, order), on.transpose(on.cast(src, x.dtype), order)
    found = on.op("ScatterND", target, places, updates, reduction=reduction, shape=target.shape)
    return on.transpose(found, [order.index(d) for d in range(rank(x))])


# A part of a tensor replaced


@lowers(aten.slice_scatter.default)
def slice_scatter(
    on: Operation, x: Value, src: Value, dim: int = 0, start: Any = None, end: Any = None, step: int = 1
) -> Value:
    size: Size = on.shape[dim % len(on.shape)]
    low = 0 if start is None else min(max(start + size if start < 0 else start, 0), size)
    high = size if end is None else min(max(end + size if end < 0 else end, 0), size)
    places = on.op("Range", *(on.value(n, torch.int64) for n in (low, high, step)), shape=(-(-(high - low) // step),))
    return _slices(on, x, dim, places, src, None)


@lowers(aten.select_scatter.default)
def select_scatter(on: Operation, x: Value, src: Value, dim: int, index: int) -> Value:
    return _slices(on, x, dim, on.ints(index), on.unsqueeze(src, dim % len(on.shape)), None)


@lowers(aten.diagonal_scatter.default)
def diagonal_scatter(on: Operation, x: Value, src: Value, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Value:
    order, rows, columns = diagonal_last(x, offset, dim1, dim2)
    last = on.transpose(x, order)
    shape = last.shape or ()
    height, width = int(shape[-2]), int(shape[-1])
    flat = on.reshape(last, (*shape[:-2], height * width))
    places = on.ints(*(r * width + c for r, c in zip(rows, columns, strict=True)))
    new = _slices(on, flat, rank(flat) - 1, places, src, None)
    back = on.reshape(new._replace(shape=flat.shape), shape)
    return on.transpose(back, [order.index(d) for d in range(rank(x))])

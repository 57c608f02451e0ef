"""Operations that only move values: other shapes, orders, parts, and parts put together."""

from __future__ import annotations

from typing import Any

import torch

from modgrad.export.onnx.graph import Shape, Size, Value
from modgrad.export.onnx.lowering.table import (
    LOWERINGS,
    Operation,
    count,
    dims_of,
    fixed,
    is_fixed,
    lowers,
    rank,
    same_size,
)

aten: Any = torch.ops.aten
_FIRST, _LAST = -(2**63), 2**63 - 1


def _reshaped(on: Operation, x: Value, *_: Any, **__: Any) -> Value:
    return on.reshape(x, on.shape)


LOWERINGS.update(
    dict.fromkeys(
        (
            aten.view.default,
            aten.reshape.default,
            aten._unsafe_view.default,
            aten.flatten.using_ints,
            aten.unflatten.int,
            aten.unsqueeze.default,
            aten.squeeze.default,
            aten.squeeze.dim,
            aten.squeeze.dims,
        ),
        _reshaped,
    )
)


@lowers(aten.expand.default, aten.broadcast_to.default)
def expand(on: Operation, x: Value, *_: Any, **__: Any) -> Value:
    return on.expand(x, on.shape)


@lowers(aten.permute.default)
def permute(on: Operation, x: Value, dims: list[int]) -> Value:
    return on.transpose(x, [d % rank(x) for d in dims])


@lowers(aten.transpose.int)
def transpose(on: Operation, x: Value, first: int, second: int) -> Value:
    order = list(range(rank(x)))
    if order:
        order[first], order[second] = order[second], order[first]
    return on.transpose(x, order)


@lowers(aten.t.default)
def t(on: Operation, x: Value) -> Value:
    return on.transpose(x, list(range(rank(x)))[::-1])


@lowers(aten.select.int)
def select(on: Operation, x: Value, dim: int, index: Size) -> Value:
    return on.op("Gather", x, on.value(index, torch.int64), axis=dim % rank(x))


@lowers(aten.slice.Tensor)
def slice_(on: Operation, x: Value, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Value:
    start, end = 0 if start is None else start, _LAST if end is None else end
    dim %= rank(x)
    if start == 0 and step == 1 and same_size((x.shape or ())[dim], on.shape[dim]):
        return x
    return on.op("Slice", x, on.vector([start]), on.vector([end]), on.ints(dim), on.ints(step))


@lowers(aten.flip.default)
def flip(on: Operation, x: Value, dims: list[int]) -> Value:
    if not dims or not rank(x):
        return x
    back = on.ints(*[-1] * len(dims))
    return on.op("Slice", x, back, on.ints(*[_FIRST] * len(dims)), on.ints(*dims_of(dims, rank(x))), back)


@lowers(aten.roll.default)
def roll(on: Operation, x: Value, shifts: list[int], dims: Any = ()) -> Value:
    if not dims:
        flat = on.reshape(x, (count(on.shape),))
        return on.reshape(_rolled(on, flat, shifts[0], 0), on.shape)
    for shift, dim in zip(shifts, dims, strict=True):
        x = _rolled(on, x, shift, dim % len(on.shape))
    return x


def _rolled(on: Operation, x: Value, shift: int, dim: int) -> Value:
    size = (x.shape or ())[dim]
    if is_fixed(size) and (int(size) == 0 or shift % int(size) == 0):
        return x
    cut = on.vector([size - shift % size])
    last = on.op("Slice", x, cut, on.ints(_LAST), on.ints(dim))
    first = on.op("Slice", x, on.ints(0), cut, on.ints(dim))
    return on.op("Concat", last, first, axis=dim, shape=x.shape)


@lowers(aten.cat.default, aten.concat.default)
def cat(on: Operation, tensors: list[Value], dim: int = 0) -> Value:
    """An empty vector among tensors of more dimensions is passed over, as PyTorch does."""
    parts = [on.cast(x, on.dtype) for x in tensors if rank(x) == len(on.shape)]
    return parts[0] if len(parts) == 1 else on.op("Concat", *parts, axis=dim % len(on.shape))


@lowers(aten.stack.default)
def stack(on: Operation, tensors: list[Value], dim: int = 0) -> Value:
    dim %= len(on.shape)
    return on.op("Concat", *(on.unsqueeze(on.cast(x, on.dtype), dim) for x in tensors), axis=dim)


@lowers(aten.split.Tensor)
def split(on: Operation, x: Value, size: Size, dim: int = 0) -> tuple[Value, ...]:
    return _split(on, x, dim)


@lowers(aten.split_with_sizes.default, aten.split.sizes)
def split_with_sizes(on: Operation, x: Value, sizes: list[Size], dim: int = 0) -> tuple[Value, ...]:
    return _split(on, x, dim)


def _split(on: Operation, x: Value, dim: int) -> tuple[Value, ...]:
    """Into parts as large as the traced ones."""
    dim %= rank(x)
    shapes = [tuple(part.shape) for part in on.node.meta["val"]]
    if len(shapes) == 1:
        return (x,)
    return on.op("Split", x, on.vector([shape[dim] for shape in shapes]), axis=dim, outputs=len(shapes))


@lowers(aten.unbind.int)
def unbind(on: Operation, x: Value, dim: int = 0) -> tuple[Value, ...]:
    dim %= rank(x)
    return tuple(
        on.op("Gather", x, on.constant(i, torch.int64), axis=dim) if on.used(i) else x
        for i in range(len(on.node.meta["val"]))
    )


@lowers(aten.repeat.default)
def repeat(on: Operation, x: Value, repeats: list[Size]) -> Value:
    x = on.reshape(x, (*[1] * (len(repeats) - rank(x)), *(x.shape or ())))
    return x if all(is_fixed(n) and int(n) == 1 for n in repeats) else on.op("Tile", x, on.vector(repeats))


@lowers(aten.repeat_interleave.self_int)
def repeat_interleave(on: Operation, x: Value, repeats: int, dim: int | None = None, output_size: Any = None) -> Value:
    """Each value `repeats` times, one after the other: repeated along a dimension of its own."""
    if dim is None:
        x, dim = on.op("Reshape", x, on.ints(-1)), 0
        wide = on.op("Tile", on.op("Unsqueeze", x, on.ints(1)), on.ints(1, repeats))
    else:
        dim %= rank(x)
        wide = on.op("Tile", on.unsqueeze(x, dim + 1), on.ints(*[1] * (dim + 1), repeats, *[1] * (rank(x) - dim - 1)))
    return on.reshape(wide._replace(shape=None), on.shape)


@lowers(aten.constant_pad_nd.default)
def pad(on: Operation, x: Value, pads: list[int], value: Any = 0) -> Value:
    """Places before and after, last dimension first. Fewer than none are cut off."""
    n = rank(x)
    before, after = [0] * n, [0] * n
    for i, (low, high) in enumerate(zip(pads[::2], pads[1::2], strict=True)):
        before[n - 1 - i], after[n - 1 - i] = low, high
    cut = [d for d in range(n) if min(before[d], after[d]) < 0]
    if cut:
        starts = on.ints(*(max(-before[d], 0) for d in cut))
        ends = on.ints(*(min(after[d], 0) or _LAST for d in cut))
        x = on.op("Slice", x, starts, ends, on.ints(*cut))
    before, after = [max(b, 0) for b in before], [max(a, 0) for a in after]
    if not any((*before, *after)):
        return x
    if x.dtype is torch.bool:
        padded = on.op("Pad", on.cast(x, torch.int32), on.ints(*before, *after), on.constant(int(value), torch.int32))
        return on.cast(padded, torch.bool)
    return on.op("Pad", x, on.ints(*before, *after), on.constant(value, x.dtype) if value else None)


# Diagonals and triangles


def _positions(on: Operation, shape: Shape, dim: int) -> Value:
    """0, 1, ... along one of the two last dimensions, shaped to broadcast."""
    size = on.sizes.scalar(shape[dim])
    line = on.op("Range", on.constant(0, torch.int64), size, on.constant(1, torch.int64), dtype=torch.int64)
    return on.op("Unsqueeze", line, on.ints(1)) if dim == -2 else line


@lowers(aten.tril.default)
def tril(on: Operation, x: Value, diagonal: int = 0) -> Value:
    return _triangle(on, x, "LessOrEqual", diagonal)


@lowers(aten.triu.default)
def triu(on: Operation, x: Value, diagonal: int = 0) -> Value:
    return _triangle(on, x, "GreaterOrEqual", diagonal)


def _triangle(on: Operation, x: Value, kind: str, diagonal: int) -> Value:
    """Those whose column is at most, or at least, the row + diagonal; zeros elsewhere."""
    limit = on.op("Add", _positions(on, on.shape, -2), on.constant(diagonal, torch.int64))
    inside = on.op(kind, _positions(on, on.shape, -1), limit, dtype=torch.bool)
    if x.dtype is torch.bool:
        return on.op("And", inside, x)
    return on.op("Where", inside, x, on.constant(0, x.dtype), dtype=x.dtype)


@lowers(aten.diagonal.default)
def diagonal(on: Operation, x: Value, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Value:
    """Rows i + max(-offset, 0) and columns i + max(offset, 0), as the last dimension."""
    order, rows, columns = diagonal_last(x, offset, dim1, dim2)
    last = on.transpose(x, order)
    flat_size = last.shape[-2] * last.shape[-1] if last.shape else 0
    flat = on.reshape(last, (*(last.shape or ())[:-2], flat_size))
    width = int((last.shape or ())[-1])
    places = on.ints(*(r * width + c for r, c in zip(rows, columns, strict=True)))
    return on.op("Gather", flat, places, axis=len(order) - 2)


def diagonal_last(x: Value, offset: int, dim1: int, dim2: int) -> tuple[list[int], range, range]:
    """The dimensions with those of the diagonal last, and its rows and columns."""
    first, second = dim1 % rank(x), dim2 % rank(x)
    shape = x.shape or ()
    height, width = (fixed(shape[d], "a diagonal") for d in (first, second))
    length = max(min(height + min(offset, 0), width - max(offset, 0)), 0)
    order = [*(d for d in range(rank(x)) if d not in (first, second)), first, second]
    down, right = max(-offset, 0), max(offset, 0)
    return order, range(down, down + length), range(right, right + length)


@lowers(aten.diag_embed.default)
def diag_embed(on: Operation, x: Value, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Value:
    """Each last dimension as a diagonal, with zeros around it."""
    n = len(on.shape)
    first, second = dim1 % n, dim2 % n
    size = int((x.shape or ())[-1])
    side = size + abs(offset)
    cells = torch.zeros(size, side * side)
    cells[range(size), [(i + max(-offset, 0)) * side + i + max(offset, 0) for i in range(size)]] = 1
    positions = torch.where(cells.any(0), cells.argmax(0), size)
    padded = on.op("Pad", x, on.ints(*[0] * (2 * rank(x) - 1), 1))
    square = on.op("Gather", padded, on.constant(positions), axis=rank(x) - 1)
    square = on.reshape(square, (*(x.shape or ())[:-1], side, side))
    order = [d for d in range(n) if d not in (first, second)]
    back = {d: i for i, d in enumerate([*order, first, second])}
    return on.transpose(square, [back[d] for d in range(n)])


@lowers(aten.unfold.default)
def unfold(on: Operation, x: Value, dim: int, size: int, step: int) -> Value:
    """Windows along a dimension, each as the last one."""
    dim = dim % rank(x) if rank(x) else 0
    starts = torch.arange(int(on.shape[dim])) * step
    places = starts[:, None] + torch.arange(size)
    found = on.op("Gather", x, on.constant(places), axis=dim)
    n = rank(x)
    return on.op("Transpose", found, perm=[*(d for d in range(n + 1) if d != dim + 1), dim + 1])

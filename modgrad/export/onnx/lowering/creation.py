"""Tensors made from nothing."""

from __future__ import annotations

from typing import Any

import torch

from modgrad.export.onnx.graph import Size, Value
from modgrad.export.onnx.lowering.table import LOWERINGS, Operation, lowers

aten: Any = torch.ops.aten


def filled(on: Operation, value: Any) -> Value:
    return on.expand(on.value(value, on.dtype), on.shape)


def _filled(value: Any) -> Any:
    return lambda on, *_, **__: filled(on, value)


# Of what is only made to be written to, or asked for its shape, nobody sees the values.
for _overload in (aten.empty.memory_format, aten.empty_like.default, aten.new_empty.default):
    LOWERINGS[_overload] = _filled(0)
for _packet in (aten.zeros, aten.zeros_like, aten.new_zeros):
    LOWERINGS[_packet.default] = _filled(0)
for _packet in (aten.ones, aten.ones_like, aten.new_ones):
    LOWERINGS[_packet.default] = _filled(1)


@lowers(aten.full.default, aten.full_like.default, aten.new_full.default)
def full(on: Operation, *arguments: Any, **_: Any) -> Value:
    """The value comes after a shape, a tensor, or both."""
    return filled(on, arguments[-1])


@lowers(aten.scalar_tensor.default)
def scalar_tensor(on: Operation, value: Any, **_: Any) -> Value:
    return on.value(value, on.dtype)


@lowers(aten.arange.default)
def arange(on: Operation, end: Size, **_: Any) -> Value:
    return _range(on, 0, end, 1)


@lowers(aten.arange.start)
def arange_start(on: Operation, start: Size, end: Size, **_: Any) -> Value:
    return _range(on, start, end, 1)


@lowers(aten.arange.start_step)
def arange_step(on: Operation, start: Size, end: Size, step: Size = 1, **_: Any) -> Value:
    return _range(on, start, end, step)


def _range(on: Operation, start: Size, end: Size, step: Size) -> Value:
    if not on.dtype.is_floating_point:
        found = on.op("Range", *(on.value(x, torch.int64) for x in (start, end, step)))
        found = on.cast(found, on.dtype)
    else:  # of which there are as many as PyTorch made, whatever the last one's rounding
        (size,) = on.shape
        numbers = on.op("Range", *(on.value(x, torch.int64) for x in (0, size, 1)))
        steps = on.op("Mul", on.cast(numbers, on.dtype), on.value(step, on.dtype))
        found = on.op("Add", steps, on.value(start, on.dtype))
    if isinstance(start, int) and start >= 0 and isinstance(step, int) and step > 0:
        on.graph.mark_nonnegative(found)
    return found

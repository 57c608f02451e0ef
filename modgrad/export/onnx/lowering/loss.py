"""Negative log likelihood of class indices: log-probabilities x (N, C, ...), classes y (N, ...), weights w (C)."""

from __future__ import annotations

from typing import Any

import torch

from modgrad.export.onnx.graph import Value
from modgrad.export.onnx.lowering.reduction import reduced
from modgrad.export.onnx.lowering.table import Operation, lowers, rank

aten: Any = torch.ops.aten
_NONE, _MEAN = 0, 1


def _classes(on: Operation, x: Value, y: Value, ignore_index: int) -> tuple[Value, Value, int]:
    """Whether each target is ignored; its class, 0 where it is ignored, both (N, 1, ...); the classes' dimension.

    The class is one that lookups take, and refuse where it is out of range."""
    dim = 1 if rank(x) > 1 else 0
    y = on.unsqueeze(on.cast(y, torch.int64), dim)
    ignored = on.op("Equal", y, on.constant(ignore_index, torch.int64), dtype=torch.bool, shape=y.shape)
    zero = on.constant(0, torch.int64)
    return ignored, on.indices(on.op("Where", ignored, zero, y, dtype=torch.int64, shape=y.shape)), dim


@lowers(aten.nll_loss_forward.default, aten.nll_loss2d_forward.default)
def nll_loss(
    on: Operation, x: Value, y: Value, weight: Value | None, reduction: int, ignore_index: int
) -> tuple[Value, Value]:
    """L_n = -w_y x_y, and D = sum w_y; a class out of range is an error in GatherElements."""
    ignored, index, dim = _classes(on, x, y, ignore_index)
    zero, one = on.constant(0.0, x.dtype), on.constant(1.0, x.dtype)
    of_class = one if weight is None else on.op("Gather", weight, index, axis=0)
    found = on.op("GatherElements", x, index, axis=dim, shape=index.shape)
    if weight is not None:
        found = on.op("Mul", found, of_class)
    found = on.op("Where", ignored, zero, found, dtype=x.dtype, shape=index.shape)
    weights = on.op("Where", ignored, zero, of_class, dtype=x.dtype, shape=index.shape)
    divisor = reduced(on, "ReduceSum", weights)
    if reduction == _NONE:
        return on.op("Neg", on.squeeze(found, dim)), on.constant(0.0, x.dtype)
    total = reduced(on, "ReduceSum", found)
    return on.op("Neg", on.op("Div", total, divisor) if reduction == _MEAN else total), divisor


@lowers(aten.nll_loss_backward.default, aten.nll_loss2d_backward.default)
def nll_loss_backward(
    on: Operation,
    grad: Value,
    x: Value,
    y: Value,
    weight: Value | None,
    reduction: int,
    ignore_index: int,
    divisor: Value,
) -> Value:
    """-w_y dL/dL_n at class y, 0 elsewhere and where y is ignored."""
    ignored, index, dim = _classes(on, x, y, ignore_index)
    grad = negative(on, on.graph.broadcasts.get(grad.name, grad))
    slope = grad if reduction == _NONE else on.op("Div", grad, divisor) if reduction == _MEAN else grad
    if reduction == _NONE and grad.shape:
        slope = on.unsqueeze(slope, dim)
    if weight is not None:
        slope = on.op("Mul", slope, on.op("Gather", weight, index, axis=0))
    slope = on.op("Where", ignored, on.constant(0.0, on.dtype), slope, dtype=on.dtype)
    classes = torch.arange(int(on.shape[dim])).reshape(-1, *[1] * (len(on.shape) - dim - 1))
    chosen = on.op("Equal", index, on.constant(classes), dtype=torch.bool)
    result = on.op("Where", chosen, slope, on.constant(0.0, on.dtype), dtype=on.dtype)
    on.graph.sums[result.name] = (dim, slope)
    return result


def negative(on: Operation, x: Value) -> Value:
    held = on.graph.value_of(x)
    return on.op("Neg", x, shape=x.shape) if held is None else on.constant(-held)


@lowers(aten._log_softmax_backward_data.default)
def log_softmax_backward(on: Operation, grad: Value, output: Value, dim: int, dtype: Any) -> Value:
    """dL/dx = dL/dy - exp(y) sum dL/dy."""
    dim = dim % rank(output) if rank(output) else 0
    known = on.graph.sums.get(grad.name)
    total = known[1] if known is not None and known[0] == dim else reduced(on, "ReduceSum", grad, dim, True)
    return on.op("Sub", grad, on.op("Mul", on.op("Exp", output), total))


@lowers(aten._softmax_backward_data.default)
def softmax_backward(on: Operation, grad: Value, output: Value, dim: int, dtype: Any) -> Value:
    """dL/dx = y (dL/dy - sum y dL/dy)."""
    each = on.op("Mul", output, grad, shape=output.shape)
    total = reduced(on, "ReduceSum", each, dim, True)
    return on.op("Sub", each, on.op("Mul", output, total))

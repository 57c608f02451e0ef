"""Negative log likelihood of class indices: log-probabilities x (N, C, ...), classes y (N, ...), weights w (C)."""

from __future__ import annotations

from typing import Any

import torch

from modgrad.export.onnx.graph import Value
from modgrad.export.onnx.lowering.reduction import reduced
from modgrad.export.onnx.lowering.table import Operation, lowers, rank

aten: Any = torch.ops.aten
_NONE, _MEAN = 0, 1


class _Targets:
    """Of classes y for x: which count, and their indices, 0 where ignored, both (N, 1, ...); the classes' dimension.

    An index is one that lookups take, and refuse where it is out of range. A choice takes onnxruntime several times as
    long as a product with 0 or 1, which stands for it wherever no factor can be infinite.
    """

    def __init__(self, on: Operation, x: Value, y: Value, ignore_index: int) -> None:
        self.on = on
        self.dim = 1 if rank(x) > 1 else 0
        y = on.unsqueeze(on.cast(y, torch.int64), self.dim)
        ignored = on.constant(ignore_index, torch.int64)
        self.ignored = on.op("Equal", y, ignored, dtype=torch.bool, shape=y.shape)
        self.count = on.op("Not", self.ignored, shape=y.shape)
        self.index = on.indices(on.op("Mul", y, on.cast(self.count, torch.int64), shape=y.shape))

    def weights(self, weight: Value | None, dtype: torch.dtype) -> Value:
        """w_y, 0 where y is ignored."""
        if weight is None:
            return self.on.cast(self.count, dtype)
        return self.counted(self.on.op("Gather", weight, self.index, axis=0))

    def counted(self, x: Value) -> Value:
        """x, 0 where y is ignored."""
        zero = self.on.constant(0.0, x.dtype)
        return self.on.op("Where", self.ignored, zero, x, dtype=x.dtype, shape=self.index.shape)


@lowers(aten.nll_loss_forward.default, aten.nll_loss2d_forward.default)
def nll_loss(
    on: Operation, x: Value, y: Value, weight: Value | None, reduction: int, ignore_index: int
) -> tuple[Value, Value]:
    """L_n = -w_y x_y, and D = sum w_y; a class out of range is an error in GatherElements."""
    targets = _Targets(on, x, y, ignore_index)
    found = on.op("GatherElements", x, targets.index, axis=targets.dim, shape=targets.index.shape)
    if weight is not None:
        found = on.op("Mul", found, on.op("Gather", weight, targets.index, axis=0))
    found = targets.counted(found)
    if reduction == _NONE:
        return on.op("Neg", on.squeeze(found, targets.dim)), on.constant(0.0, x.dtype)
    divisor = reduced(on, "ReduceSum", targets.weights(weight, x.dtype))
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
    targets = _Targets(on, x, y, ignore_index)
    grad = negative(on, on.graph.broadcasts.get(grad.name, grad))
    classes = torch.arange(int(on.shape[targets.dim])).reshape(-1, *[1] * (len(on.shape) - targets.dim - 1))
    chosen = on.op("Equal", targets.index, on.constant(classes), dtype=torch.bool)
    held = on.graph.value_of(grad)
    if weight is None and held is not None and bool(held.isfinite().all()):
        if reduction == _MEAN:  # of which 0 is the mean of nothing
            grad = on.op("Div", grad, on.op("Max", divisor, on.constant(1.0, divisor.dtype)))
        slope = on.op("Mul", targets.weights(None, on.dtype), grad)
        result = on.op("Mul", on.cast(chosen, on.dtype), slope)
    else:
        slope = on.op("Div", grad, divisor) if reduction == _MEAN else grad
        if reduction == _NONE and grad.shape:
            slope = on.unsqueeze(slope, targets.dim)
        if weight is not None:
            slope = on.op("Mul", slope, on.op("Gather", weight, targets.index, axis=0))
        slope = targets.counted(slope)
        result = on.op("Where", chosen, slope, on.constant(0.0, on.dtype), dtype=on.dtype)
    on.graph.sums[result.name] = (targets.dim, slope)
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

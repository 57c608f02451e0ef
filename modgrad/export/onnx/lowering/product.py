"""Products of vectors and matrices."""

from __future__ import annotations

from typing import Any

import torch

from modgrad.export.onnx.graph import Value
from modgrad.export.onnx.lowering.table import Operation, lowers, rank

aten: Any = torch.ops.aten


@lowers(aten.mm.default, aten.bmm.default, aten.matmul.default, aten.mv.default, aten.dot.default)
def matmul(on: Operation, a: Value, b: Value) -> Value:
    if rank(a) == rank(b) == 2 and on.dtype.is_floating_point:
        return product(on, a, b)
    return on.op("MatMul", a, b)


@lowers(aten.addmm.default)
def addmm(on: Operation, bias: Value, a: Value, b: Value, beta: Any = 1, alpha: Any = 1) -> Value:
    return product(on, a, b, bias, beta, alpha)


@lowers(aten.linear.default)
def linear(on: Operation, x: Value, weight: Value, bias: Value | None = None) -> Value:
    upright = on.transpose(weight, [1, 0])
    if rank(x) == 2:
        return product(on, x, upright, bias)
    found = on.op("MatMul", x, upright)
    return found if bias is None else on.op("Add", found, bias)


@lowers(aten.baddbmm.default)
def baddbmm(on: Operation, bias: Value, a: Value, b: Value, beta: Any = 1, alpha: Any = 1) -> Value:
    found = on.op("MatMul", a, b)
    if alpha != 1:
        found = on.op("Mul", found, on.constant(alpha, on.dtype))
    if beta == 0:
        return found
    return on.op("Add", found, on.op("Mul", bias, on.constant(beta, on.dtype)) if beta != 1 else bias)


def product(on: Operation, a: Value, b: Value, bias: Value | None = None, beta: Any = 1, alpha: Any = 1) -> Value:
    """Of two matrices, each read crosswise where it is another's transpose."""
    left, right = on.graph.transposed(a), on.graph.transposed(b)
    options: dict[str, Any] = {
        "transA": None if left is None else 1,
        "transB": None if right is None else 1,
        "alpha": None if alpha == 1 else float(alpha),
        "beta": None if beta == 1 else float(beta),
    }
    result = on.op("Gemm", left or a, right or b, bias, **options)
    if bias is None:
        on.graph.products[result.name] = (left or a, right or b, options)
    return result

"""Sizes that are free in the traced program, as values of the graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sympy
import torch

from modgrad.export.onnx.graph import Graph, Size, Value


class Sizes:
    """Finds each free size by reading the shape of an input that it is a dimension of."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._sources: dict[Any, tuple[Value, int]] = {}

    def admit(self, value: Value) -> None:
        """Take an input's shape into account."""
        for dim, size in enumerate(value.shape or ()):
            if isinstance(size, torch.SymInt) and isinstance(expression := size.node.expr, sympy.Symbol):
                self._sources.setdefault(expression, (value, dim))

    def scalar(self, size: Any) -> Value:
        """A size as an int64 without dimensions; what is a true quotient of sizes, as a float64."""
        if isinstance(size, int):
            return self.graph.constant(size, torch.int64)
        found = self._expression(size.node.expr)
        if found.shape == ():
            return found
        return self.graph.op("Squeeze", found, self.graph.constant([0], torch.int64), shape=())

    def vector(self, sizes: Sequence[Size]) -> Value:
        """Sizes as a vector of int64."""
        parts: list[list[int] | Value] = []
        for size in sizes:
            fixed = size if isinstance(size, int) else size.node.maybe_as_int()
            if fixed is None:
                parts.append(self._expression(size.node.expr))
            elif parts and isinstance(parts[-1], list):
                parts[-1].append(fixed)
            else:
                parts.append([fixed])
        values = [self.graph.constant(p, torch.int64) if isinstance(p, list) else p for p in parts]
        if not values:
            return self.graph.constant([], torch.int64)
        return values[0] if len(values) == 1 else self.graph.op("Concat", *values, axis=0, shape=(len(sizes),))

    def _expression(self, expression: Any) -> Value:
        """As a vector of one element."""
        if isinstance(expression, sympy.Integer):
            return self.graph.constant([int(expression)], torch.int64)
        if isinstance(expression, sympy.Float):
            return self.graph.constant([float(expression)], torch.float64)
        if isinstance(expression, sympy.Symbol):
            if expression not in self._sources:
                raise NotImplementedError(f"the size {expression} depends on values, not on the shapes of inputs alone")
            value, dim = self._sources[expression]
            found = self.graph.op("Shape", value, dtype=torch.int64, shape=(1,), start=dim, end=dim + 1)
            return self.graph.mark_nonnegative(found)
        kind = type(expression).__name__
        if kind == "Pow" and expression.args[1].is_Integer and expression.args[1] > 0:
            base = self._expression(expression.args[0])
            return self._folded("Mul", [base] * int(expression.args[1]))
        if kind not in _KINDS:
            raise NotImplementedError(f"the size {expression} ({kind}) of the traced program has no form in ONNX")
        operator, dtype = _KINDS[kind]
        parts = [self._expression(part) for part in expression.args]
        if dtype is None:
            dtype = torch.float64 if any(p.dtype is torch.float64 for p in parts) else torch.int64
        if kind == "ToFloat":
            return self.graph.cast(parts[0], torch.float64)
        return self._folded(operator, [self.graph.cast(part, dtype) for part in parts])

    def _folded(self, operator: str, parts: list[Value]) -> Value:
        first, *rest = parts
        for part in rest:
            first = self.graph.op(operator, first, part, shape=(1,))
        return first


# Of SymPy and torch.utils._sympy.functions: each as an ONNX operator, and the dtype that it is in. Sizes are not below
# 0, so that a quotient that is cut off is one rounded down.
_KINDS: dict[str, tuple[str, torch.dtype | None]] = {
    "Add": ("Add", None),
    "Mul": ("Mul", None),
    "Max": ("Max", None),
    "Min": ("Min", None),
    "FloorDiv": ("Div", torch.int64),
    "CleanDiv": ("Div", torch.int64),
    "Mod": ("Mod", torch.int64),
    "PythonMod": ("Mod", torch.int64),
    "IntTrueDiv": ("Div", torch.float64),
    "FloatTrueDiv": ("Div", torch.float64),
    "ToFloat": ("", torch.float64),
}

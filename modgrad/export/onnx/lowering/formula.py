"""Values that arithmetic is written with as in a formula."""

from __future__ import annotations

from typing import Any

import torch

from modgrad.export.onnx.graph import Value
from modgrad.export.onnx.lowering.table import Operation


class Formula:
    """A value of floats while it is lowered. Numbers beside it become constants of its dtype."""

    def __init__(self, on: Operation, value: Value) -> None:
        self.on, self.value = on, value

    @property
    def dtype(self) -> torch.dtype:
        return self.value.dtype

    def number(self, x: float) -> Formula:
        return Formula(self.on, self.on.constant(x, self.dtype))

    def op(self, kind: str, *others: Any, dtype: torch.dtype | None = None, **attributes: Any) -> Formula:
        """The operator `kind` of this value and others."""
        values = [other.value if isinstance(other, Formula) else self.number(other).value for other in others]
        return Formula(self.on, self.on.op(kind, self.value, *values, dtype=dtype, **attributes))

    def __add__(self, other: Any) -> Formula:
        return self.op("Add", other)

    def __sub__(self, other: Any) -> Formula:
        return self.op("Sub", other)

    def __mul__(self, other: Any) -> Formula:
        return self.op("Mul", other)

    def __truediv__(self, other: Any) -> Formula:
        return self.op("Div", other)

    def __rsub__(self, other: float) -> Formula:
        return self.number(other) - self

    def __neg__(self) -> Formula:
        return self.op("Neg")

    def __pow__(self, other: Any) -> Formula:
        return self.op("Pow", other)

    __radd__, __rmul__ = __add__, __mul__

    # Comparisons, which `where` takes

    def __lt__(self, other: Any) -> Formula:
        return self.op("Less", other, dtype=torch.bool)

    def __le__(self, other: Any) -> Formula:
        return self.op("LessOrEqual", other, dtype=torch.bool)

    def __gt__(self, other: Any) -> Formula:
        return self.op("Greater", other, dtype=torch.bool)

    def equals(self, other: Any) -> Formula:
        return self.op("Equal", other, dtype=torch.bool)

    def is_nan(self) -> Formula:
        return self.op("IsNaN", dtype=torch.bool)

    def is_infinite(self) -> Formula:
        return self.op("IsInf", dtype=torch.bool)

    def __or__(self, other: Formula) -> Formula:
        return self.op("Or", other)

    def __and__(self, other: Formula) -> Formula:
        return self.op("And", other)

    def choose(self, yes: Any, no: Any) -> Formula:
        """`yes` where this is true, `no` elsewhere; one of the two is a Formula."""
        like = yes if isinstance(yes, Formula) else no
        pair = [x if isinstance(x, Formula) else like.number(x) for x in (yes, no)]
        return self.op("Where", *pair, dtype=like.dtype)

    # Functions

    def abs(self) -> Formula:
        return self.op("Abs")

    def exp(self) -> Formula:
        return self.op("Exp")

    def log(self) -> Formula:
        return self.op("Log")

    def sqrt(self) -> Formula:
        return self.op("Sqrt")

    def sign(self) -> Formula:
        return self.op("Sign")

    def floor(self) -> Formula:
        return self.op("Floor")

    def round(self) -> Formula:
        return self.op("Round")

    def sin(self) -> Formula:
        return self.op("Sin")

    def cos(self) -> Formula:
        return self.op("Cos")

    def reciprocal(self) -> Formula:
        return self.op("Reciprocal")

    def clip(self, low: float, high: float) -> Formula:
        return self.op("Max", low).op("Min", high)

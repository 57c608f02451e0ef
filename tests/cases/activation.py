"""Rows of the table: activation."""

from __future__ import annotations

from tests.cases.table import layer, normal

CASES = [
    layer("ReLU", normal((5, 4)), normal(()), normal((2, 3, 4)), empty=normal((0, 4))),
    layer("Tanh", normal((5, 4)), normal(()), empty=normal((0, 4))),
    layer("Sigmoid", normal((5, 4)), normal(()), empty=normal((0, 4))),
    layer("GELU", normal((5, 4)), normal(()), empty=normal((0, 4))),
    layer("GELU", normal((5, 4)), normal(()), label="tanh", approximate="tanh", empty=normal((0, 4))),
    layer("Softmax", normal((5, 4)), normal((3,)), normal((2, 3, 4)), args=(-1,), empty=normal((0, 4))),
    layer("Softmax", normal((2, 3, 4)), label="dim 1", args=(1,)),
    layer("LogSoftmax", normal((5, 4)), normal((3,)), normal((2, 3, 4)), args=(-1,), empty=normal((0, 4))),
]

"""Rows of the table: dropout."""

from __future__ import annotations

from tests.cases.table import layer, normal

CASES = [
    layer("Dropout", normal((5, 4)), normal(()), normal((2, 3, 4)), empty=normal((0, 4))),
    layer("Dropout", normal((5, 4)), label="rare", args=(0.1,)),
    layer("Dropout", normal((5, 4)), label="all", args=(1.0,)),
]

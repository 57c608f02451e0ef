"""Rows of the table: linear."""

from __future__ import annotations

from tests.cases.table import layer, normal

CASES = [
    layer("Linear", normal((5, 4)), normal((4,)), normal((2, 3, 4)), args=(4, 3), empty=normal((0, 4))),
    layer("Linear", normal((5, 4)), label="no bias", args=(4, 3), bias=False),
]

"""Rows of the table: reduction."""

from __future__ import annotations

from tests.cases.table import normal, operator

CASES = [
    operator("sum", lambda x: x.sum(), normal((3, 4)), normal(()), uses="Sum", saves=False, empty=normal((0, 4))),
    operator(
        "sum dims", lambda x: x.sum((0, -1)) + x.sum(1, keepdim=True).sum(), normal((2, 3, 4)), uses="Sum", saves=False
    ),
    operator("mean", lambda x: x.mean(), normal((3, 4)), normal(()), uses="Mean", saves=False),
    operator("mean dims", lambda x: x.mean(-1, keepdim=True) * x.mean(0), normal((3, 4)), uses="Mean"),
]

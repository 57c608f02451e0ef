"""Rows of the table: arithmetic."""

from __future__ import annotations

import torch

from tests.cases.table import normal, operator, positive

CASES = [
    operator(
        "add",
        lambda x, y: x + y,
        normal((3, 4), (3, 4)),
        normal((3, 4), (4,)),
        normal((3, 1), (2, 1, 4)),
        uses="Add",
        saves=False,
    ),
    operator("add number", lambda x: torch.add(2 + x, 1.5, alpha=2), normal((3, 4)), uses=("Add",), saves=False),
    operator("sub", lambda x, y: x - y, normal((3, 4), (3, 4)), normal((4,), (3, 4)), uses="Sub", saves=False),
    operator("sub number", lambda x: torch.sub(1 - x, x, alpha=3), normal((3, 4)), uses="Sub", saves=False),
    operator(
        "mul", lambda x, y: x * y, normal((3, 4), (3, 4)), normal((3, 1), (2, 1, 4)), normal((3, 4), ()), uses="Mul"
    ),
    operator("mul number", lambda x: 3 * x * 2.0, normal((3, 4)), uses="Mul", saves=False, empty=normal((0, 4))),
    operator("div", lambda x, y: x / y, positive((3, 4), (3, 4)), positive((3, 1), (4,)), uses="Div"),
    operator("div number", lambda x: 2 / x + x / 3 + x.reciprocal(), positive((3, 4)), uses="Div"),
    operator("neg", lambda x: -x, normal((3, 4)), uses="Neg", saves=False),
    operator("abs", lambda x: x.abs(), normal((3, 4)), uses="Abs"),
    operator("pow", lambda x, y: x**y, positive((3, 4), (3, 4)), positive((3, 1), (4,)), uses="Pow"),
    operator("pow number", lambda x: x**3 + x.square() + x**0 + 2**x, normal((3, 4)), uses="Pow"),
    operator("exp", lambda x: x.exp(), normal((3, 4)), normal(()), uses="Exp"),
    operator("log", lambda x: x.log(), positive((3, 4)), uses="Log"),
    operator("sqrt", lambda x: x.sqrt(), positive((3, 4)), uses="Sqrt"),
]

"""Rows of the table: linear."""

from __future__ import annotations

import torch

from tests.cases.table import layer, normal, operator

CASES = [
    layer("Linear", normal((5, 4)), normal((4,)), normal((2, 3, 4)), args=(4, 3), empty=normal((0, 4))),
    layer("Linear", normal((5, 4)), label="no bias", args=(4, 3), bias=False),
    operator(
        "linear",
        lambda x, w, b=None: torch.nn.functional.linear(x, w, b),
        normal((5, 4), (3, 4), (3,)),
        normal((4,), (3, 4)),
        normal((2, 3, 4), (5, 4), (5,)),
        uses="Affine",
        empty=normal((0, 4), (3, 4), (3,)),
    ),
]

"""Rows of the table: the bilinear layer."""

from __future__ import annotations

from typing import Any

import torch

from tests.cases.table import layer, normal

NEAR: Any = {"dtypes": (torch.float32,)}  # its sums are in another order: see `tests/nn/test_losses.py`

CASES = [
    layer(
        "Bilinear",
        normal((5, 3), (5, 2)),
        normal((3,), (2,)),
        normal((4, 2, 3), (4, 2, 2)),
        args=(3, 2, 4),
        empty=normal((0, 3), (0, 2)),
        **NEAR,
    ),
    layer("Bilinear", normal((5, 3), (5, 2)), label="no bias", args=(3, 2, 1), bias=False, **NEAR),
]

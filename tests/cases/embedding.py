"""Rows of the table: embedding."""

from __future__ import annotations

import torch

from tests.cases.table import layer, numbers, rows

CASES = [
    layer(
        "Embedding",
        numbers(4, (5,)),
        numbers(4, ()),
        numbers(4, (2, 3), dtype=torch.int32),
        numbers(4, (2, 1, 3)),
        args=(4, 3),
        empty=numbers(4, (0, 2)),
    ),
    layer("Embedding", rows([0, 2, 2, 1]), label="padding", args=(4, 3, -2), is_derivative=False),
    layer(
        "Embedding",
        rows([[0, 2, 2], [2, 1, 0]]),
        label="by frequency",
        args=(4, 3),
        scale_grad_by_freq=True,
        is_derivative=False,
    ),
]

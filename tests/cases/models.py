"""Rows of the table: primitives of the models."""

from __future__ import annotations

import torch

from modgrad.models.gpt2 import Conv1D
from tests.cases.table import Case, normal
from tests.models.twins import Conv1D as Twin

CASES = [
    Case(
        "Conv1D",
        lambda: Conv1D(4, 3, std=1.0),
        lambda: Twin(4, 3),
        [normal((5, 4)), normal((4,)), normal((2, 3, 4))],
        ("Conv1D",),
        empty=lambda: (torch.zeros(0, 4, dtype=torch.float64),),
    ),
]

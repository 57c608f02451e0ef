"""Rows of the table: embedding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from tests.cases.table import Case, Inputs, layer, numbers, rows


def bags(mode: str, *inputs: Callable[[], Inputs], **options: Any) -> Case:
    return layer("EmbeddingBag", *inputs, label=" ".join([mode, *options]), args=(6, 3), mode=mode, **options)


def in_bags(offsets: list[int], weighted: bool = False, dtype: torch.dtype = torch.int64) -> Callable[[], Inputs]:
    """Five numbers, in bags that start at these offsets."""

    def make() -> Inputs:
        given = torch.tensor([0, 2, 2, 1, 5], dtype=dtype), torch.tensor(offsets, dtype=dtype)
        return (*given, torch.randn(5, dtype=torch.float64)) if weighted else given

    return make


CASES = [
    bags("mean", in_bags([0, 2, 2]), numbers(6, (2, 3)), numbers(6, (2, 1), dtype=torch.int32)),
    bags("sum", in_bags([0, 2, 2]), numbers(6, (2, 3)), in_bags([0], dtype=torch.int32)),
    bags("sum", in_bags([0, 2, 2], weighted=True), in_bags([0], weighted=True), padding_idx=2),
    bags("sum", in_bags([0, 2, 5], weighted=True), include_last_offset=True),
    bags("max", in_bags([0, 2, 2]), numbers(6, (2, 3))),
    bags("max", in_bags([0, 2, 2]), padding_idx=-4),
    bags("mean", in_bags([0, 2, 2, 5]), padding_idx=2, include_last_offset=True),
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

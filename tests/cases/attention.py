"""Rows of the table: attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from tests.cases.table import Inputs, normal, operator


def attention(**options: Any) -> Callable[..., Any]:
    """PyTorch's own function, which stands for modgrad's where a Variable comes."""
    return lambda q, k, v, mask=None: torch.nn.functional.scaled_dot_product_attention(q, k, v, mask, **options)


def attended(
    query: tuple[int, ...], key: tuple[int, ...], mask: tuple[int, ...] = (), width: int | None = None
) -> Callable[[], Inputs]:
    """Query, key, value (of another width, if given) and a boolean mask, of which each query sees the first key."""

    def make() -> Inputs:
        value = (*key[:-1], width or key[-1])
        tensors = normal(query, key, value)()
        if not mask:
            return tensors
        visible = torch.rand(mask) > 0.4
        visible[..., 0] = True
        return *tensors, visible

    return make


CASES = [
    operator(
        "attention",
        attention(),
        normal((2, 3, 5, 4), (2, 3, 7, 4), (2, 3, 7, 4)),
        normal((3, 5, 4), (3, 7, 4), (3, 7, 4)),
        normal((5, 4), (7, 4), (7, 4)),
        normal((1, 2, 3, 5, 4), (1, 2, 3, 7, 4), (1, 2, 3, 7, 4)),
        normal((2, 3, 5, 4), (1, 3, 7, 4), (3, 7, 4)),
        attended((2, 3, 5, 4), (2, 3, 7, 4), width=6),
        attended((2, 3, 5, 4), (2, 3, 7, 4), mask=(5, 7)),
        attended((2, 3, 5, 4), (2, 3, 7, 4), mask=(2, 1, 1, 7)),
        attended((2, 3, 5, 4), (2, 3, 7, 4), mask=(3, 5, 7), width=6),
        attended((3, 5, 4), (3, 7, 4), mask=(3, 5, 7)),
        uses="ScaledDotProductAttention",
        empty=normal((0, 3, 5, 4), (0, 3, 7, 4), (0, 3, 7, 4)),
    ),
    operator(
        "attention causal",
        attention(is_causal=True, scale=0.3),
        normal((2, 3, 5, 4), (2, 3, 5, 4), (2, 3, 5, 4)),
        normal((2, 3, 5, 4), (2, 3, 7, 4), (2, 3, 7, 4)),
        normal((2, 3, 7, 4), (2, 3, 5, 4), (2, 3, 5, 4)),
        normal((3, 5, 4), (3, 5, 4), (3, 5, 4)),
        attended((2, 3, 5, 4), (2, 3, 5, 4), width=6),
        attended((2, 3, 5, 4), (2, 3, 5, 4), mask=(5, 5)),
        uses="ScaledDotProductAttention",
    ),
    operator(
        "attention grouped",
        attention(enable_gqa=True),
        normal((2, 6, 5, 4), (2, 3, 7, 4), (2, 3, 7, 4)),
        normal((2, 6, 5, 4), (2, 1, 7, 4), (2, 1, 7, 4)),
        attended((2, 6, 5, 4), (2, 3, 7, 4), width=6),
        uses="ScaledDotProductAttention",
        dtypes=(torch.float32,),  # of bfloat16 test_attention tells
    ),
    operator(
        "attention biased",
        attention(),
        normal((2, 3, 5, 4), (2, 3, 7, 4), (2, 3, 7, 4), (3, 5, 7)),
        normal((2, 3, 5, 4), (2, 3, 7, 4), (2, 3, 7, 4), (2, 1, 5, 1)),
        normal((2, 3, 5, 4), (2, 3, 7, 4), (2, 3, 7, 4), (1, 7)),
        uses="ScaledDotProductAttention",
        dtypes=(torch.float32,),
    ),
]

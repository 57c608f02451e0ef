from __future__ import annotations

from typing import Any

import torch

from modgrad import functional
from tests.functional.arguments.make import Arguments, normal


def _embedding_backward() -> list[tuple[Any, ...]]:
    indices = [torch.tensor([0, 2, 2, 1, 2]), torch.tensor(1), torch.tensor([[4, 0]], dtype=torch.int32)]
    return [
        (normal(*i.shape, 3), i, 5, padding, by_frequency)
        for i in indices
        for padding in (-1, 2)
        for by_frequency in (False, True)
    ]


_BAGS: list[tuple[list[int], list[int]]] = [([0, 2, 2, 1, 5], [0, 2, 2, 5]), ([3, 3], [0, 0, 2, 2]), ([], [0, 0])]


def _bags() -> list[tuple[Any, ...]]:
    rows = []
    for numbers, edges in _BAGS:
        for dtype in (torch.int64, torch.int32):
            input, given = torch.tensor(numbers, dtype=dtype), torch.tensor(edges, dtype=dtype)
            for mode, scales in [("sum", None), ("sum", normal(len(numbers))), ("mean", None), ("max", None)]:
                rows += [(input, given, normal(6, 3), scales, mode, padding) for padding in (-1, 2)]
    return rows


def _bags_backward() -> list[tuple[Any, ...]]:
    rows = []
    for input, edges, weight, scales, mode, padding in _bags():
        output, largest = functional.embedding_bag(input, edges, weight, scales, mode, padding)
        by_frequency = [False] if mode == "max" else [False, True]
        rest = scales, largest, mode, padding
        rows += [(normal(*output.shape), input, edges, 6, *rest, frequency) for frequency in by_frequency]
    return rows


ARGUMENTS: Arguments = {
    "embedding_bag": _bags,
    "embedding_bag_grad_weight": _bags_backward,
    "embedding": lambda: [
        (torch.tensor([[0, 2, 2]]), normal(3, 4)),
        (torch.tensor(1, dtype=torch.int32), normal(3, 4)),
    ],
    "embedding_backward": _embedding_backward,
}

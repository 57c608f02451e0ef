from __future__ import annotations

from typing import Any

import torch

from modgrad import functional
from tests.functional.arguments.make import Arguments, normal


def _cross_entropy(**options: Any) -> list[tuple[Any, ...]]:
    weight = torch.rand(3, dtype=torch.float64)
    classes = torch.tensor([0, 2, -100, 1])
    maps = torch.tensor([[0, 2], [-100, 1]]).reshape(2, 1, 2)
    return [
        (x, target, w, -100, reduction, 0.0)
        for x, target in [(normal(4, 3), classes), (normal(2, 3, 1, 2), maps)]
        for w in (None, weight)
        for reduction in ("mean", "sum", "none")
    ]


def _cross_entropy_grad_input() -> list[tuple[Any, ...]]:
    rows = []
    for x, target, weight, ignored, reduction, smoothing in _cross_entropy():
        loss, log_p, divisor = functional.cross_entropy(x, target, weight, ignored, reduction, smoothing)
        rows.append((torch.randn_like(loss), log_p, target, divisor, weight, ignored, reduction, smoothing))
    return rows


ARGUMENTS: Arguments = {
    "cross_entropy": _cross_entropy,
    "cross_entropy_grad_input": _cross_entropy_grad_input,
}

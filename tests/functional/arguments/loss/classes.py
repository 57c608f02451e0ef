from __future__ import annotations

from typing import Any

import torch

from modgrad import functional
from tests.functional.arguments.make import Arguments, normal


def _cross_entropy() -> list[tuple[Any, ...]]:
    weight = torch.rand(3, dtype=torch.float64)
    classes = torch.tensor([0, 2, -100, 1])
    maps = torch.tensor([[0, 2], [-100, 1]])
    inputs = [(normal(4, 3), classes), (normal(2, 3, 1, 2), maps.unsqueeze(1)), (normal(2, 3, 2), maps)]
    return [
        (x, target, w, -100, reduction, smoothing)
        for x, target in [*inputs, (normal(4, 3), normal(4, 3).softmax(1))]
        for w in (None, weight)
        for reduction in ("mean", "sum", "none")
        for smoothing in (0.0, 0.1)
    ]


def _nll_loss() -> list[tuple[Any, ...]]:
    return [row[:-1] for row in _cross_entropy() if row[-1] and not row[1].is_floating_point()]


def _nll_loss_backward() -> list[tuple[Any, ...]]:
    rows = []
    for x, target, *options in _nll_loss():
        loss, divisor = functional.nll_loss(x, target, *options)
        rows.append((torch.randn_like(loss), x.shape, target, divisor, *options))
    return rows


def _cross_entropy_grad_input() -> list[tuple[Any, ...]]:
    rows = []
    for x, target, weight, ignored, reduction, smoothing in _cross_entropy():
        loss, log_p, divisor = functional.cross_entropy(x, target, weight, ignored, reduction, smoothing)
        rows.append((torch.randn_like(loss), log_p, target, divisor, weight, ignored, reduction, smoothing))
    return rows


ARGUMENTS: Arguments = {
    "cross_entropy": _cross_entropy,
    "cross_entropy_grad_input": _cross_entropy_grad_input,
    "nll_loss": _nll_loss,
    "nll_loss_backward": _nll_loss_backward,
}

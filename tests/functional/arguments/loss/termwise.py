from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from modgrad import functional
from tests.functional.arguments.make import Arguments, normal

Rows = list[tuple[Any, ...]]
ALL = list(functional.REDUCTIONS)


def _grad(reduction: str, *shape: int) -> Tensor:
    return normal(*shape) if reduction == "none" else normal()


def _regression(*options: Any) -> Rows:
    return [(normal(3, 4) * 2, normal(3, 4), r, *option) for r in ALL for option in (options or ((),))]


def _regression_backward(*options: Any) -> Rows:
    return [(_grad(row[2], 3, 4), *row) for row in _regression(*options)]


def _bce() -> Rows:
    p, t = torch.rand(3, 4, dtype=torch.float64), torch.rand(3, 4, dtype=torch.float64)
    p[0, 0], p[0, 1] = 0.0, 1.0  # where logarithms and divisor are held
    return [(p, t, w, r) for w in (None, normal(3, 4)) for r in ALL]


def _with_logits() -> Rows:
    x, t = normal(3, 4) * 5, torch.rand(3, 4, dtype=torch.float64)
    x[0] = torch.tensor([1e4, -1e4, 0.0, 40.0])
    return [(x, t, w, q, r) for w in (None, normal(3, 4)) for q in (None, normal(3, 4)) for r in ALL]


def _multi_margin() -> Rows:
    x, t = normal(3, 4), torch.tensor([0, 3, 1])
    x[2, 2] = x[2, 1] - 1  # where the term begins
    return [(x, t, w, r, p, margin) for w in (None, normal(4)) for r in ALL for p in (1, 2) for margin in (1.0, 0.2)]


def _multilabel_margin() -> Rows:
    lists = torch.tensor([[0, 3, -1, 1], [2, 2, 1, -1], [-1, 0, 1, 2], [3, 2, 1, 0]])
    return [(normal(4, 4), lists, r) for r in ALL]


def _multilabel_margin_backward() -> Rows:
    return [
        (_grad(r, 4), x, lists, functional.multilabel_margin_loss(x, lists)[1], r)
        for x, lists, r in _multilabel_margin()
    ]


BETAS = ((1.0,), (0.3,), (0.0,))
DELTAS = ((1.0,), (0.3,))
ARGUMENTS: Arguments = {
    "mse_loss": _regression,
    "mse_loss_backward": _regression_backward,
    "smooth_l1_loss": lambda: _regression(*BETAS),
    "smooth_l1_loss_backward": lambda: _regression_backward(*BETAS),
    "huber_loss": lambda: _regression(*DELTAS),
    "huber_loss_backward": lambda: _regression_backward(*DELTAS),
    "binary_cross_entropy": _bce,
    "binary_cross_entropy_grad_input": lambda: [(_grad(row[3], 3, 4), *row) for row in _bce()],
    "binary_cross_entropy_with_logits": _with_logits,
    "multi_margin_loss": _multi_margin,
    "multi_margin_loss_backward": lambda: [(_grad(row[3], 3), *row) for row in _multi_margin()],
    "multilabel_margin_loss": _multilabel_margin,
    "multilabel_margin_loss_backward": _multilabel_margin_backward,
}

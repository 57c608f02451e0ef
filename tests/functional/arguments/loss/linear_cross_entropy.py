from __future__ import annotations

from typing import Any

import torch

from modgrad.functional import Chunks, Criterion
from tests.functional.arguments.make import Arguments, normal


def _linear_cross_entropy(reductions: tuple[str, ...], wanted: bool = False) -> list[tuple[Any, ...]]:
    """For each kind of target, smoothing and reduction; in one piece, and by two rows; in further dimensions too."""
    h = normal(5, 4)
    indices = torch.tensor([0, 2, -100, 1, 2])
    flags = ((True, True, True),) if wanted else ()
    return [
        (h, W, bias, target, Criterion(weight, -100, reduction, smoothing), *flags, Chunks(rows))
        for W, b, targets in (
            (normal(3, 4), normal(3), (indices, normal(5, 3).softmax(1))),
            (normal(3, 2, 4), normal(3, 2), (torch.stack([indices, indices], 1), normal(5, 3, 2).softmax(1))),
        )
        for target in targets
        for bias, weight in ((None, None), (b, positive))
        for smoothing in (0.0, 0.1)
        for reduction in reductions
        for rows in (None, 2)
    ]


def _linear_cross_entropy_backward() -> list[tuple[Any, ...]]:
    rows = _linear_cross_entropy(("mean", "sum", "none"), wanted=True)
    return [
        (normal(5, *W.shape[1:-1]) if of.reduction == "none" else normal(), h, W, b, t, of, *rest)
        for h, W, b, t, of, *rest in rows
    ]


positive = torch.tensor([0.5, 2.0, 1.0], dtype=torch.float64)


ARGUMENTS: Arguments = {
    "linear_cross_entropy": lambda: _linear_cross_entropy(("mean", "sum", "none")),
    "linear_cross_entropy_backward": _linear_cross_entropy_backward,
    "linear_cross_entropy_with_gradients": lambda: _linear_cross_entropy(("mean", "sum"), wanted=True),
}

from __future__ import annotations

from typing import Any

import torch

from tests.functional.arguments.make import Arguments, normal


def _linear_cross_entropy(reductions: tuple[str, ...], wanted: bool = False) -> list[tuple[Any, ...]]:
    """For each kind of target, smoothing and reduction; in one piece, and by two rows."""
    h, W, b = normal(5, 4), normal(3, 4), normal(3)
    indices = torch.tensor([0, 2, -100, 1, 2])
    flags = ((True, True, True),) if wanted else ()
    return [
        (h, W, bias, target, weight, -100, reduction, smoothing, *flags, rows)
        for target in (indices, normal(5, 3).softmax(1))
        for bias, weight in ((None, None), (b, positive))
        for smoothing in (0.0, 0.1)
        for reduction in reductions
        for rows in (None, 2)
    ]


def _linear_cross_entropy_backward() -> list[tuple[Any, ...]]:
    rows = _linear_cross_entropy(("mean", "sum", "none"), wanted=True)
    return [(normal(5) if row[6] == "none" else normal(), *row) for row in rows]


positive = torch.tensor([0.5, 2.0, 1.0], dtype=torch.float64)


ARGUMENTS: Arguments = {
    "linear_cross_entropy": lambda: _linear_cross_entropy(("mean", "sum", "none")),
    "linear_cross_entropy_backward": _linear_cross_entropy_backward,
    "linear_cross_entropy_with_gradients": lambda: _linear_cross_entropy(("mean", "sum"), wanted=True),
}

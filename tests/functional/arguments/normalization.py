from __future__ import annotations

from typing import Any

import torch

from modgrad import functional
from tests.functional.arguments.make import Arguments, normal


def _batch_norm_backward() -> list[tuple[Any, ...]]:
    input = normal(4, 3, 2, 2) * 3 + 1
    _, mean, scale, _ = functional.batch_norm(input, None, None, 1e-5)
    return [(normal(4, 3, 2, 2), input, mean, scale, w) for w in (normal(3), None)]


def _layer_norm_backward() -> list[tuple[Any, ...]]:
    rows = []
    for shape, dims in [((5, 4), 1), ((2, 3, 4), 2), ((4,), 1)]:
        input, inner = normal(*shape) * 3 + 1, shape[len(shape) - dims :]
        _, mean, scale = functional.layer_norm(input, inner, None, None, 1e-5)
        some = [(True, True, True), (True, False, False), (False, True, False), (False, False, True)]
        rows += [(normal(*shape), input, inner, mean, scale, normal(*inner), wanted) for wanted in some]
        rows.append((normal(*shape), input, inner, mean, scale, None, (True, False, False)))
    return rows


positive = torch.tensor([0.5, 2.0, 1.0], dtype=torch.float64)


ARGUMENTS: Arguments = {
    "batch_norm": lambda: [(normal(4, 3, 2, 2) * 3 + 1, w, b, 1e-5) for w, b in [(normal(3), normal(3)), (None, None)]],
    "batch_norm_backward": _batch_norm_backward,
    "batch_norm_apply": lambda: [
        (normal(4, 3, 2, 2), normal(3), positive, w, b, 1e-5) for w, b in [(normal(3), normal(3)), (None, None)]
    ],
    "batch_norm_apply_backward": lambda: [
        (normal(4, 3, 2, 2), normal(4, 3, 2, 2), normal(3), positive, w, 1e-5) for w in (normal(3), None)
    ],
    "layer_norm": lambda: [
        (normal(2, 3, 4) * 3 + 1, shape, w, b, 1e-5)
        for shape in [(4,), (3, 4), (2, 3, 4)]
        for w, b in [(normal(*shape), normal(*shape)), (normal(*shape), None), (None, None)]
    ],
    "layer_norm_backward": _layer_norm_backward,
}

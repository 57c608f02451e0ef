from __future__ import annotations

from typing import Any

import torch

from modgrad import functional
from tests.functional.arguments.make import Arguments, normal

THREE = [(True, True, True), (True, False, False), (False, True, False), (False, False, True)]
positive = torch.tensor([0.5, 2.0, 1.0], dtype=torch.float64)


def _batch_norm_backward() -> list[tuple[Any, ...]]:
    input = normal(4, 3, 2, 2) * 3 + 1
    _, mean, scale, _ = functional.batch_norm(input, None, None, 1e-5)
    rows = [(normal(4, 3, 2, 2), input, mean, scale, normal(3), wanted) for wanted in THREE]
    rows.append((normal(4, 3, 2, 2), input, mean, scale, None, (True, False, True)))
    return [*rows, (normal(0, 3), normal(0, 3), mean, scale, normal(3), (True, True, True))]


def _batch_norm_apply_backward() -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = [
        (normal(4, 3, 2, 2), normal(4, 3, 2, 2), normal(3), positive, w, 1e-5, wanted)
        for w in (normal(3), None)
        for wanted in THREE
    ]
    rows.append((normal(4, 3, 2, 2), None, None, positive, normal(3), 1e-5, (True, False, False)))
    return [*rows, (normal(0, 3), normal(0, 3), normal(3), positive, None, 1e-5)]


def _layer_norm_backward() -> list[tuple[Any, ...]]:
    rows = []
    for shape, dims in [((5, 4), 1), ((2, 3, 4), 2), ((4,), 1)]:
        input, inner = normal(*shape) * 3 + 1, shape[len(shape) - dims :]
        _, mean, scale = functional.layer_norm(input, inner, None, None, 1e-5)
        rows += [(normal(*shape), input, inner, mean, scale, normal(*inner), wanted) for wanted in THREE]
        rows.append((normal(*shape), input, inner, mean, scale, None, (True, False, True)))
    return rows


def _rms_norm_backward() -> list[tuple[Any, ...]]:
    rows = []
    for shape, dims in [((5, 4), 1), ((2, 3, 4), 2), ((4,), 1), ((0, 4), 1)]:
        input, inner = normal(*shape) * 3 + 1, shape[len(shape) - dims :]
        _, scale = functional.rms_norm(input, inner, None, 1e-5)
        some = [(True, True), (True, False), (False, True)]
        rows += [(normal(*shape), input, inner, scale, normal(*inner), wanted) for wanted in some]
        rows.append((normal(*shape), input, inner, scale, None, (True, False)))
    return rows


def _group_norm_backward() -> list[tuple[Any, ...]]:
    rows = []
    for shape in [(2, 6, 3), (3, 6), (2, 6, 2, 2), (0, 6, 2)]:
        input = normal(*shape) * 3 + 1
        _, mean, scale = functional.group_norm(input, 2, None, None, 1e-5)
        rows += [(normal(*shape), input, mean, scale, normal(6), wanted) for wanted in THREE]
        rows.append((normal(*shape), input, mean, scale, None, (True, False, True)))
    return rows


ARGUMENTS: Arguments = {
    "batch_norm": lambda: [
        *((normal(4, 3, 2, 2) * 3 + 1, w, b, 1e-5) for w, b in [(normal(3), normal(3)), (None, None)]),
    ],
    "batch_norm_backward": _batch_norm_backward,
    "batch_norm_apply": lambda: [
        (normal(4, 3, 2, 2), normal(3), positive, w, b, 1e-5) for w, b in [(normal(3), normal(3)), (None, None)]
    ],
    "batch_norm_apply_backward": _batch_norm_apply_backward,
    "group_norm": lambda: [
        (normal(*shape) * 3 + 1, groups, w, b, 1e-5)
        for shape in [(2, 6, 3), (3, 6), (2, 6, 2, 2)]
        for groups in (1, 2, 6)
        if shape != (3, 6) or groups != 6
        for w, b in [(normal(6), normal(6)), (normal(6), None), (None, None)]
    ],
    "group_norm_backward": _group_norm_backward,
    "layer_norm": lambda: [
        (normal(2, 3, 4) * 3 + 1, shape, w, b, 1e-5)
        for shape in [(4,), (3, 4), (2, 3, 4)]
        for w, b in [(normal(*shape), normal(*shape)), (normal(*shape), None), (None, None)]
    ],
    "layer_norm_backward": _layer_norm_backward,
    "rms_norm": lambda: [
        (normal(2, 3, 4) * 3 + 1, shape, w, 1e-5) for shape in [(4,), (3, 4), (2, 3, 4)] for w in (normal(*shape), None)
    ],
    "rms_norm_backward": _rms_norm_backward,
}

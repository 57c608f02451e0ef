from __future__ import annotations

from typing import Any

import torch

from tests.functional.arguments.make import Arguments, normal

# padding, and a shape for it
SHAPES: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((1, 2), (2, 3, 4)),
    ((-1, 3), (2, 4)),
    ((-5, 3), (2, 4)),
    ((0, 0), (2, 3, 4)),
    ((1, 2, 0, 3), (2, 3, 5, 4)),
    ((-1, 1, 3, -2), (3, 5, 4)),
    ((2, 1, 1, 0, 0, 1), (2, 3, 3, 2, 4)),
]


def _backward() -> list[tuple[Any, ...]]:
    return [
        (torch.randn_like(torch.nn.functional.pad(normal(*shape), padding, "replicate")), torch.Size(shape), padding)
        for padding, shape in SHAPES
    ]


ARGUMENTS: Arguments = {
    "reflection_pad": lambda: [(normal(*shape), padding) for padding, shape in SHAPES],
    "reflection_pad_backward": _backward,
    "replication_pad": lambda: [(normal(*shape), padding) for padding, shape in SHAPES],
    "replication_pad_backward": _backward,
}

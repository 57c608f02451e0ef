from __future__ import annotations

from typing import Any

import torch

from modgrad import functional
from tests.functional.arguments.make import Arguments, normal


def _max_pool2d_backward() -> list[tuple[Any, ...]]:
    input, windows = normal(2, 3, 7, 8), ((3, 2), (2, 1), (1, 0), (1, 2), True)
    output, indices = functional.max_pool2d(input, *windows)
    return [(torch.randn_like(output), input, indices, *windows)]


ARGUMENTS: Arguments = {
    "max_pool2d_backward": _max_pool2d_backward,
    "adaptive_avg_pool2d_backward": lambda: [
        (normal(2, 3, 3, 2), normal(2, 3, 7, 5)),
        (normal(3, 4, 5), normal(3, 2, 3)),
    ],
}

from __future__ import annotations

from typing import Any

import torch

from tests.functional.arguments.make import Arguments, normal


def _embedding_backward() -> list[tuple[Any, ...]]:
    indices = [torch.tensor([0, 2, 2, 1, 2]), torch.tensor(1), torch.tensor([[4, 0]], dtype=torch.int32)]
    return [
        (normal(*i.shape, 3), i, 5, padding, by_frequency)
        for i in indices
        for padding in (-1, 2)
        for by_frequency in (False, True)
    ]


ARGUMENTS: Arguments = {
    "embedding": lambda: [
        (torch.tensor([[0, 2, 2]]), normal(3, 4)),
        (torch.tensor(1, dtype=torch.int32), normal(3, 4)),
    ],
    "embedding_backward": _embedding_backward,
}

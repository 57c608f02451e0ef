from __future__ import annotations

from typing import Any

import torch

from tests.functional.arguments.make import Arguments


def _next_scale() -> list[tuple[Any, ...]]:
    largest = 2.0**127
    return [
        (torch.tensor(scale), torch.tensor(tracker, dtype=torch.int32), torch.tensor(found), 2.0, 0.3, 4)
        for scale in (1.0, 3.7, largest)
        for tracker in (0, 2, 3)
        for found in (0.0, 1.0, 2.0)
    ]


ARGUMENTS: Arguments = {"next_scale": _next_scale}

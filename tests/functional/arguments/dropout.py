from __future__ import annotations

import torch

from tests.functional.arguments.make import Arguments, normal

ARGUMENTS: Arguments = {
    "dropout": lambda: [(normal(*shape), p) for shape in [(3, 4), (), (50, 50)] for p in (0.0, 0.2, 0.5, 1.0)],
    "dropout_backward": lambda: [(normal(3, 4), torch.rand(3, 4) < 0.5, p) for p in (0.0, 0.2, 1.0)],
}

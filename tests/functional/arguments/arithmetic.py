from __future__ import annotations

import torch

from tests.functional.arguments.make import Arguments, normal

ARGUMENTS: Arguments = {
    "sum_to_shape": lambda: [
        (normal(2, 3, 4), torch.Size(shape)) for shape in [(2, 3, 4), (3, 4), (4,), (), (1, 4), (2, 1, 1)]
    ],
}

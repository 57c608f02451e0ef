from __future__ import annotations

import torch

from tests.functional.arguments.make import Arguments, normal

ARGUMENTS: Arguments = {
    "select_backward": lambda: [
        (normal(2, 2), torch.Size((3, 4)), (slice(1, None), slice(None, None, 2))),
        (normal(4), torch.Size((3, 4)), -1),
        (normal(4, 4), torch.Size((3, 4)), torch.tensor([0, 2, 2, 1])),
    ],
}

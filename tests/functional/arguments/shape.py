from __future__ import annotations

import torch

from tests.functional.arguments.make import Arguments, normal

ARGUMENTS: Arguments = {
    "diagonal_backward": lambda: [
        (normal(2, 3), torch.Size((3, 2, 4)), 1, 0, 2),
        (normal(4, 3), torch.Size((3, 4, 5)), -1, -1, 0),
        (normal(2, 0), torch.Size((3, 2, 4)), 9, 0, 2),
    ],
    "windows_backward": lambda: [
        (normal(2, 3, 3), torch.Size((2, 7)), 1, 3, 2),
        (normal(4, 2, 2), torch.Size((5, 2)), 0, 2, 1),
    ],
}

from __future__ import annotations

import torch

from tests.functional.arguments.make import Arguments, normal

ARGUMENTS: Arguments = {
    "select_backward": lambda: [
        (normal(2, 2), torch.Size((3, 4)), (slice(1, None), slice(None, None, 2))),
        (normal(4), torch.Size((3, 4)), -1),
        (normal(4, 4), torch.Size((3, 4)), torch.tensor([0, 2, 2, 1])),
        (normal(3, 2, 2), torch.Size((3, 4)), (slice(None), torch.tensor([[0, -1], [2, 2]]))),
        (normal(2, 3, 4), torch.Size((3, 4, 2)), (torch.tensor([[0], [0]]), slice(None), torch.tensor([1, -1, 0]))),
        (normal(2, 4), torch.Size((3, 4, 2)), (torch.tensor([True, False, True]), slice(None), torch.tensor([1, -1]))),
        (normal(2), torch.Size((3, 4)), (torch.tensor([0, 0]), torch.tensor([1, 1]))),
        (normal(2, 4), torch.Size((3, 4)), torch.tensor([True, False, True])),
        (normal(2, 1, 2), torch.Size((3, 4)), (torch.tensor([0, 0]), None, slice(1, 3))),
        (normal(0, 4), torch.Size((3, 4)), torch.tensor([], dtype=torch.int64)),
    ],
}

from __future__ import annotations

import torch

from tests.functional.arguments.make import Arguments, normal

ARGUMENTS: Arguments = {
    "relu_backward": lambda: [(normal(3, 4), torch.relu(normal(3, 4)))],
    "tanh_backward": lambda: [(normal(3, 4), torch.tanh(normal(3, 4)))],
    "sigmoid_backward": lambda: [(normal(3, 4), torch.sigmoid(normal(3, 4)))],
    "gelu": lambda: [(normal(3, 4) * 3, approximate) for approximate in ("none", "tanh")],
    "gelu_backward": lambda: [(normal(3, 4), normal(3, 4) * 3, approximate) for approximate in ("none", "tanh")],
    "softmax_backward": lambda: [(normal(3, 4), normal(3, 4).softmax(d), d) for d in (0, 1, -1)],
    "log_softmax_backward": lambda: [(normal(3, 4), normal(3, 4).log_softmax(d), d) for d in (0, 1, -1)],
}

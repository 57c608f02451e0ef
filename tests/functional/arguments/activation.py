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
    "threshold": lambda: [(normal(3, 4), 0.1, value) for value in (-2.0, 20.0)],
    "threshold_backward": lambda: [(normal(3, 4), normal(3, 4), 0.1)],
    "leaky_relu": lambda: [(normal(3, 4), slope) for slope in (0.01, -0.5)],
    "leaky_relu_backward": lambda: [(normal(3, 4), normal(3, 4), slope) for slope in (0.01, -0.5)],
    "prelu": lambda: [(normal(*shape), weight) for shape, weight in _slopes()],
    "prelu_backward": lambda: [(normal(*shape), normal(*shape), weight) for shape, weight in _slopes()],
    "hardtanh": lambda: [(normal(3, 4), *ends) for ends in ((-1.0, 1.0), (-0.5, 0.7))],
    "hardtanh_backward": lambda: [(normal(3, 4), normal(3, 4), *ends) for ends in ((-1.0, 1.0), (-0.5, 0.7))],
    "hardsigmoid": lambda: [(normal(30, 4) * 3,)],
    "hardsigmoid_backward": lambda: [(normal(30, 4), normal(30, 4) * 3)],
    "hardswish": lambda: [(normal(30, 4) * 3,)],
    "hardswish_backward": lambda: [(normal(30, 4), normal(30, 4) * 3)],
    "hardshrink": lambda: [(normal(3, 4), lambd) for lambd in (0.5, 0.0, -0.5)],
    "hardshrink_backward": lambda: [(normal(3, 4), normal(3, 4), lambd) for lambd in (0.5, 0.0, -0.5)],
    "softshrink": lambda: [(normal(3, 4), lambd) for lambd in (0.5, 0.0)],
    "elu": lambda: [(normal(3, 4) * 3, *family) for family in _exponential()],
    "elu_backward": lambda: [(normal(3, 4), normal(3, 4) * 3, *family) for family in _exponential()],
    "logsigmoid": lambda: [(normal(3, 4) * 10,)],
    "logsigmoid_backward": lambda: [(normal(3, 4), normal(3, 4) * 10)],
    "softplus": lambda: [(normal(30, 4) * 10, *options) for options in ((1.0, 20.0), (2.5, 1.5))],
    "softplus_backward": lambda: [
        (normal(30, 4), normal(30, 4) * 10, *options) for options in ((1.0, 20.0), (2.5, 1.5))
    ],
    "silu": lambda: [(normal(3, 4) * 5,)],
    "silu_backward": lambda: [(normal(3, 4), normal(3, 4) * 5)],
    "mish": lambda: [(normal(3, 4) * 5,)],
    "mish_backward": lambda: [(normal(3, 4), normal(3, 4) * 5)],
    "glu": lambda: [(normal(2, 6, 4), dim) for dim in (0, 1, -1)],
    "glu_backward": lambda: [
        (normal(1, 6, 4), normal(2, 6, 4), 0),
        (normal(2, 3, 4), normal(2, 6, 4), 1),
        (normal(2, 6, 2), normal(2, 6, 4), -1),
    ],
}


def _slopes() -> list[tuple[tuple[int, ...], torch.Tensor]]:
    return [((5, 4), normal(4)), ((2, 4, 3), normal(4)), ((5, 4), normal(1)), ((5, 4), normal()), ((), normal(1))]


def _exponential() -> list[tuple[float, ...]]:
    """(alpha, scale, rate)"""
    return [(), (0.7, 1.0, 1.0), (-0.7, 1.0, 1.0), (1.6, 1.05, 1.0), (1.7, 1.0, 1 / 1.7)]

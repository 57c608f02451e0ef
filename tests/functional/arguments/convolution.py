from __future__ import annotations

from typing import Any

import torch

from modgrad import functional
from tests.functional.arguments.make import Arguments, normal

CONVOLUTIONS: list[tuple[Any, ...]] = [  # input, weight, stride, padding, dilation, groups
    ((2, 4, 6, 5), (3, 4, 3, 2), (1, 1), (0, 0), (1, 1), 1),
    ((2, 4, 9, 8), (6, 2, 3, 2), (3, 2), (1, 2), (1, 1), 2),
    ((2, 2, 9, 10), (3, 2, 3, 3), (2, 3), (0, 1), (2, 1), 1),
    ((1, 3, 10, 9), (2, 3, 1, 1), (4, 4), (0, 0), (1, 1), 1),
    ((3, 4, 5, 5), (8, 1, 3, 3), (1, 2), (1, 1), (1, 2), 4),
]


def _convolution_gradients(with_input: bool) -> list[tuple[Any, ...]]:
    rows = []
    for input_shape, weight_shape, *options in CONVOLUTIONS:
        input, weight = normal(*input_shape), normal(*weight_shape)
        grad = torch.randn_like(functional.conv2d(input, weight, None, *options))
        rows.append((grad, input, weight.shape, *options) if with_input else (grad, input.shape, weight, *options))
    return rows


ARGUMENTS: Arguments = {
    "conv2d_grad_input": lambda: _convolution_gradients(with_input=False),
    "conv2d_grad_weight": lambda: _convolution_gradients(with_input=True),
}

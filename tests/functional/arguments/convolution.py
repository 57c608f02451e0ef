from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from modgrad import functional
from tests.functional.arguments.make import Arguments, normal

CONVOLUTIONS: list[tuple[Any, ...]] = [  # input, weight, stride, padding, dilation, groups
    ((2, 4, 6, 5), (3, 4, 3, 2), (1, 1), (0, 0), (1, 1), 1),
    ((2, 4, 9, 8), (6, 2, 3, 2), (3, 2), (1, 2), (1, 1), 2),
    ((2, 2, 9, 10), (3, 2, 3, 3), (2, 3), (0, 1), (2, 1), 1),
    ((1, 3, 10, 9), (2, 3, 1, 1), (4, 4), (0, 0), (1, 1), 1),
    ((3, 4, 5, 5), (8, 1, 3, 3), (1, 2), (1, 1), (1, 2), 4),
    ((2, 4, 11), (6, 2, 3), (3,), (2,), (2,), 2),
    ((0, 4, 11), (6, 4, 3), (3,), (2,), (2,), 1),
    ((2, 4, 5, 6, 7), (2, 2, 3, 1, 2), (2, 4, 1), (1, 0, 1), (1, 1, 3), 2),
]
TRANSPOSED: list[tuple[Any, ...]] = [  # input, weight, stride, padding, dilation, groups, output padding
    ((2, 4, 5), (4, 3, 3), (1,), (0,), (1,), 1, (0,)),
    ((2, 4, 3, 4), (4, 3, 3, 2), (2, 3), (1, 0), (1, 2), 2, (1, 2)),
    ((2, 2, 3, 3), (2, 2, 2, 3), (1, 2), (2, 1), (4, 3), 1, (3, 2)),
    ((0, 2, 3, 3), (2, 2, 2, 3), (1, 2), (2, 1), (4, 3), 1, (3, 2)),
    ((1, 2, 2, 3, 2), (2, 2, 2, 1, 2), (2, 1, 2), (1, 0, 1), (1, 1, 1), 1, (1, 0, 0)),
]


def _gradients(
    function: Callable[..., Tensor], rows: list[tuple[Any, ...]], with_input: bool
) -> Callable[[], list[tuple[Any, ...]]]:
    def make() -> list[tuple[Any, ...]]:
        made: list[tuple[Any, ...]] = []
        for input_shape, weight_shape, *options in rows:
            input, weight = normal(*input_shape), normal(*weight_shape)
            grad = torch.randn_like(function(input, weight, None, *options))
            made.append((grad, input, weight.shape, *options) if with_input else (grad, input.shape, weight, *options))
        return made

    return make


ARGUMENTS: Arguments = {
    "convolution_grad_input": _gradients(functional.convolution, CONVOLUTIONS, with_input=False),
    "convolution_grad_weight": _gradients(functional.convolution, CONVOLUTIONS, with_input=True),
    "transposed_convolution_grad_input": _gradients(functional.transposed_convolution, TRANSPOSED, with_input=False),
    "transposed_convolution_grad_weight": _gradients(functional.transposed_convolution, TRANSPOSED, with_input=True),
}

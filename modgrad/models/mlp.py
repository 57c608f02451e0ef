"""The multi-layer perceptron."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from modgrad import nn


class MLP(nn.Module):
    """Affine maps with an activation between any two.   Rumelhart, Hinton & Williams 1986.

    widths: of the input, of each hidden layer, of the output.

    >>> MLP(784, 300, 10)
    MLP(
      (layers): Sequential(
        (0): Linear(in_features=784, out_features=300, bias=True)
        (1): ReLU()
        (2): Linear(in_features=300, out_features=10, bias=True)
      )
    )
    """

    def __init__(self, *widths: int, activation: Callable[[], nn.Module] = nn.ReLU) -> None:
        super().__init__()
        if len(widths) < 2:
            raise ValueError(f"MLP{widths}: expected the widths of the input and the output, as in MLP(784, 300, 10)")
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), activation()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, x: Any) -> Any:  # (..., widths[0])
        return self.layers(x)  # (..., widths[-1])

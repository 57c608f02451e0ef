"""Primitives to build graphs of."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from modgrad import nn


class Square(nn.Primitive):
    def forward(self, call: nn.Call, x: Tensor) -> Tensor:
        assert type(x) is Tensor
        call.save(x)
        return x * x

    def backward(self, call: nn.Call, grad: Tensor) -> Tensor:
        assert type(grad) is Tensor
        (x,) = call.saved
        assert type(x) is Tensor
        return 2 * x * grad


class Two(nn.Primitive):
    """Two outputs, x and 3x, and a count of the walks through it."""

    seen: list[Any]

    def forward(self, call: nn.Call, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, 3 * x

    def backward(self, call: nn.Call, grad: Tensor | None, grad3: Tensor | None) -> Tensor | None:
        self.seen = [grad, grad3]
        parts = [g for g in (grad, None if grad3 is None else 3 * grad3) if g is not None]
        return sum(parts[1:], parts[0])


class Passing(nn.Primitive):
    """Gives back what it gets, forward and backward, the same object."""

    def forward(self, call: nn.Call, x: Tensor) -> Tensor:
        return x

    def backward(self, call: nn.Call, grad: Tensor) -> Tensor:
        return grad

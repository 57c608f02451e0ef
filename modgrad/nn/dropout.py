"""Layers that leave values out at random."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from modgrad import functional
from modgrad.graph import Passing
from modgrad.graph.mode import mode

__all__ = ["Dropout"]


def drawn_mask(like: Tensor, p: float) -> Tensor:
    """Which elements of something like `like` stay: from the Randomness that is open, else from torch's generator."""
    randomness = mode.randomness
    if randomness is None:
        return functional.dropout(like, p)[1]
    return functional.dropout_mask(functional.random_key(*randomness.draw()), like.shape, p)


class Dropout(Passing):
    """In training each value is 0 with probability p, and divided by 1 - p if not; in evaluation all pass as they are.

    Drawn from torch's generator: torch.manual_seed makes it repeatable, and on the CPU the same as PyTorch's. Inside
    `with Randomness(seed)` it is drawn from that seed, so that a traced training step holds no hidden state.
    `inplace` is taken for PyTorch's sake and has no effect: a Variable is never changed in place.
    """

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"{type(self).__name__}(p={p}): expected the probability of 0, a number from 0 to 1")
        self.p, self.inplace = p, inplace

    def passes(self) -> bool:
        return not self.training or self.p == 0

    def forward(self, call: Any, input: Tensor) -> Tensor:
        if mode.randomness is None:
            output, mask = functional.dropout(input, self.p)
        else:
            mask = drawn_mask(input, self.p)
            output = functional.dropout_masked(input, mask, self.p)
        call.p = self.p
        call.save(mask)
        return output

    def backward(self, call: Any, grad: Tensor) -> Tensor:
        (mask,) = call.saved
        return functional.dropout_backward(grad, mask, call.p)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"

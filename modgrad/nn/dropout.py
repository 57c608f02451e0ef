"""Layers that leave values out at random."""

from __future__ import annotations

import warnings
from typing import Any

from torch import Tensor

from modgrad import functional
from modgrad.graph import Passing
from modgrad.graph.mode import mode

__all__ = ["AlphaDropout", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "FeatureAlphaDropout"]


def drawn_mask(like: Tensor, p: float) -> Tensor:
    """Which elements of something like `like` stay: from the Randomness that is open, else from torch's generator."""
    randomness = mode.randomness
    if randomness is None:
        return functional.dropout(like, p)[1]
    return functional.dropout_mask(functional.random_key(*randomness.draw()), like.shape, p)


class _Dropout(Passing):
    """What the kinds of dropout have in common. A subclass says which mask it draws, and what it does with one."""

    function: Any  # of (input, mask, p)
    derivative: Any  # of (grad, mask, p)

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"{type(self).__name__}(p={p}): expected the probability of 0, a number from 0 to 1")
        self.p, self.inplace = p, inplace

    def passes(self) -> bool:
        return not self.training or self.p == 0

    def mask_shape(self, input: Tensor) -> tuple[int, ...] | None:
        """The shape of the mask; None where each element has its own."""
        return None

    def drawn(self, input: Tensor) -> Tensor:
        """Which stay: drawn from the Randomness that is open, else from torch's generator."""
        shape = self.mask_shape(input)
        if mode.randomness is not None:
            key = functional.random_key(*mode.randomness.draw())
            return functional.dropout_mask(key, input.shape if shape is None else shape, self.p)
        return functional.bernoulli_mask(input if shape is None else input.new_empty(shape), self.p)

    def forward(self, call: Any, input: Tensor) -> Tensor:
        mask = self.drawn(input)
        output = self.function(input, mask, self.p)
        call.p = self.p
        call.save(mask)
        return output

    def backward(self, call: Any, grad: Tensor) -> Tensor:
        (mask,) = call.saved
        return self.derivative(grad, mask, call.p)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_Dropout):
    """In training each value is 0 with probability p, and divided by 1 - p if not; in evaluation all pass as they are.

    Drawn from torch's generator: torch.manual_seed makes it repeatable, and on the CPU the same as PyTorch's. Inside
    `with Randomness(seed)` it is drawn from that seed, so that a traced training step holds no hidden state.
    `inplace` is taken for PyTorch's sake and has no effect: a Variable is never changed in place.
    """

    function = staticmethod(functional.dropout_masked)
    derivative = staticmethod(functional.dropout_backward)

    def forward(self, call: Any, input: Tensor) -> Tensor:
        if mode.randomness is not None:
            return super().forward(call, input)
        output, mask = functional.dropout(input, self.p)
        call.p = self.p
        call.save(mask)
        return output


class FeatureDropout(_Dropout):
    """Dropout of whole channels: each is 0 with probability p, and divided by 1 - p if not.   input (N, C, ...).

    Drawn as Dropout draws, one number for each channel of each sample.   Tompson et al. 2015, 3.2.
    """

    function = staticmethod(functional.feature_dropout)
    derivative = staticmethod(functional.feature_dropout_backward)

    def mask_shape(self, input: Tensor) -> tuple[int, ...]:
        if input.dim() < 2:
            raise ValueError(f"{_given(self, input)}: expected (N, C, ...), whose channels to drop")
        return functional.feature_shape(input)


class Dropout1d(FeatureDropout):
    """Dropout of whole channels.   input (N, C, L) or (C, L)."""

    def mask_shape(self, input: Tensor) -> tuple[int, ...]:
        if input.dim() not in (2, 3):
            raise ValueError(f"{_given(self, input)}: expected (N, C, L) or (C, L)")
        return functional.feature_shape(input, batched=input.dim() == 3)


class Dropout2d(FeatureDropout):
    """Dropout of whole channels.   input (N, C, H, W); others of (N, C, ...) are taken too, with a warning."""

    def mask_shape(self, input: Tensor) -> tuple[int, ...]:
        if input.dim() != 4:
            other = {2: "Dropout", 3: "Dropout1d", 5: "Dropout3d"}.get(input.dim(), "Dropout")
            _warn(self, input, "(N, C, ...)", f"(N, C, H, W). Write {other} if that is what is meant")
        return super().mask_shape(input)


class Dropout3d(FeatureDropout):
    """Dropout of whole channels.   input (N, C, D, H, W) or (C, D, H, W); others of (C, ...) too, with a warning."""

    def mask_shape(self, input: Tensor) -> tuple[int, ...]:
        if input.dim() not in (4, 5):
            _warn(self, input, "(C, ...)", "(N, C, D, H, W) or (C, D, H, W)")
        return functional.feature_shape(input, batched=input.dim() == 5)


def _given(layer: Any, input: Tensor) -> str:
    return f"{layer} was given an input of shape {tuple(input.shape)}"


def _warn(layer: Any, input: Tensor, taken: str, expected: str) -> None:
    text = f"{_given(layer, input)}, which it takes for {taken} as PyTorch's does; expected {expected}"
    warnings.warn(text, stacklevel=6)


class AlphaDropout(_Dropout):
    """Dropout for selu: what is left out becomes what selu falls to, and mean 0 and variance 1 are kept.

    y = a (m x + (1 - m) s) + b, with m drawn as Dropout draws it.   Klambauer et al. 2017.
    """

    function = staticmethod(functional.alpha_dropout)
    derivative = staticmethod(functional.alpha_dropout_backward)


class FeatureAlphaDropout(FeatureDropout):
    """AlphaDropout of whole channels.   input (N, C, ...)."""

    function = staticmethod(functional.alpha_dropout)
    derivative = staticmethod(functional.alpha_dropout_backward)

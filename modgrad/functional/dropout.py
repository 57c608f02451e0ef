"""Dropout, with its derivative.   Srivastava et al. 2014.

Which elements stay is drawn in one of two ways: by `dropout` from torch's own generator, whose state is hidden; or by
`dropout_mask` from a key alone, so that a training step with dropout is a pure function of its inputs, wherever it is
carried. Keys are made by `random_key`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from modgrad.functional.kernel import direct, kernel

__all__ = [
    "alpha_dropout",
    "alpha_dropout_backward",
    "bernoulli_mask",
    "dropout",
    "dropout_backward",
    "dropout_mask",
    "dropout_masked",
    "dropout_scale",
    "feature_dropout",
    "feature_dropout_backward",
    "feature_shape",
    "hash32",
    "random_key",
    "random_uniform",
    "random_words",
]

_native_dropout_backward = direct(torch.ops.aten.native_dropout_backward.default)


def dropout_scale(p: float) -> float:
    """1 / (1 - p), by which what stays is made larger, so that the mean stays; 0 where nothing stays."""
    return 0.0 if p == 1 else 1 / (1 - p)


def _dropout_kernel(input: Tensor, p: float) -> tuple[Tensor, Tensor]:
    if p == 1:  # for which the kernel moves the generator on, and PyTorch's dropout does not
        return NotImplemented
    return torch.native_dropout(input, p, True)


@kernel(_dropout_kernel)
def dropout(input: Tensor, p: float) -> tuple[Tensor, Tensor]:
    """y = x m / (1 - p), with m = 1 at each element by itself with probability 1 - p, else 0.   input: any shape.

    Returns y and m (bool), drawn from torch's generator. On the CPU kernel, formula and PyTorch's dropout draw the same
    m from the same seed (as measured, for float64, float32 and bfloat16).
    """
    kept = bernoulli_mask(input, p)
    return dropout_masked(input, kept, p), kept


def bernoulli_mask(like: Tensor, p: float) -> Tensor:
    """True with probability 1 - p, at each element by itself, from torch's generator: bool of the shape of `like`.

    For p = 1 nothing is drawn, as in PyTorch.
    """
    kept = torch.empty_like(like, dtype=torch.bool)
    return torch.zeros_like(kept) if p == 1 else kept.bernoulli_(1 - p)


def dropout_masked(input: Tensor, mask: Tensor, p: float) -> Tensor:
    """y = x m / (1 - p), with the mask m given.   input, mask (bool): alike."""
    return input * mask * dropout_scale(p)


@kernel(lambda grad, mask, p: _native_dropout_backward(grad, mask, dropout_scale(p)))
def dropout_backward(grad: Tensor, mask: Tensor, p: float) -> Tensor:
    """dL/dx = dL/dy m / (1 - p).   grad, mask (bool): alike."""
    return grad * mask * dropout_scale(p)


# Whole channels


def feature_shape(input: Tensor, batched: bool = True) -> tuple[int, ...]:
    """The shape of one number for each channel: (N, C, 1, ...) of (N, C, ...), or (C, 1, ...) of (C, ...)."""
    leading = 2 if batched else 1
    return (*input.shape[:leading], *([1] * (input.dim() - leading)))


def feature_dropout(input: Tensor, mask: Tensor, p: float) -> Tensor:
    """y = x m / (1 - p), with one m for each channel.   mask (bool): `feature_shape`.   Tompson et al. 2015, 3.2."""
    return input * _factors(mask, p, input.dtype)


def feature_dropout_backward(grad: Tensor, mask: Tensor, p: float) -> Tensor:
    """dL/dx = dL/dy m / (1 - p).   grad: as input; mask (bool): one for each channel."""
    return grad * _factors(mask, p, grad.dtype)


def _factors(mask: Tensor, p: float, dtype: torch.dtype) -> Tensor:
    """m / (1 - p), rounded as PyTorch does."""
    return mask.to(dtype) if p == 1 else mask.to(dtype) / (1 - p)


# What selu gives for x << 0, and which alpha_dropout puts in the place of what it leaves out: -scale alpha
_SATURATED = -1.7580993408473766


def alpha_dropout(input: Tensor, mask: Tensor, p: float) -> Tensor:
    """y = a (m x + (1 - m) s) + b: what is left out becomes s = -1.758, to which selu falls.

    a = 1 / sqrt((1 - p) (1 + p s^2)) and b = -a p s: a normal distribution of mean 0 and variance 1 keeps both.
    mask (bool): input's shape, or one for each channel.   Klambauer et al. 2017, "New dropout technique".
    p = 1: y = 0.
    """
    if p == 1:
        return input * torch.zeros_like(mask, dtype=input.dtype)
    a, kept = _alpha_scale(p), mask.to(input.dtype)
    shift = (kept - 1) * (-_SATURATED * a) + -_SATURATED * a * p
    return input * (kept * a) + shift


def alpha_dropout_backward(grad: Tensor, mask: Tensor, p: float) -> Tensor:
    """dL/dx = dL/dy a m; 0 for p = 1.   grad: as input; mask (bool): alike, or one for each channel."""
    return grad * (mask.to(grad.dtype) * _alpha_scale(p))


def _alpha_scale(p: float) -> float:
    return 0.0 if p == 1 else 1 / math.sqrt((1 - p) * (1 + p * _SATURATED**2))


# Random numbers from a key alone. Numbers of 32 bits are kept in int64, which every place computes in alike: no product
# and no sum below reaches 2^63, so nothing depends on what happens there.

WORD = 2**32 - 1
# lowbias32, found by search for the least bias of all hashes of this form: Wellons 2018, "Prospecting for Hash
# Functions". Modulo 2^32 the second multiplier is the same as 0x846ca68b, which would not keep products below 2^63.
_FIRST, _SECOND = 0x7FEB352D, 0x846CA68B - 2**32
_CROSS = 0x3C6EF372  # even, so that (a, b) -> (a + C b, b + C a) loses nothing: its determinant 1 - C^2 is odd
_STRIDE = 0x9E3779B9  # 2^32 over the golden ratio, odd: Weyl's sequence n C does not repeat.   Knuth 1998, 6.4


def hash32(words: Tensor) -> Tensor:
    """Each word of 32 bits -> another, one to one: a change of any bit in changes each bit out with probability 1/2.

    words: int64, from 0 to 2^32 - 1; returns the same.
    """
    words = ((words ^ (words >> 16)) * _FIRST) & WORD
    words = ((words ^ (words >> 15)) * _SECOND) & WORD
    return words ^ (words >> 16)


def random_key(seed: Tensor, number: int) -> Tensor:
    """The key of one drawing: two words of 32 bits.

    seed (2) int64: (seed, number of the step). number: of the drawing in the step.
    Seeds and steps below 2^32 always have different keys; larger ones and different drawings do, but for a chance of
    2^-64.
    """
    words = hash32(seed & WORD) ^ ((seed >> 32) & WORD)
    words = words + _CROSS * words.flip(0) + (number + 1) * _STRIDE % 2**32
    return hash32(words & WORD)


def random_words(key: Tensor, shape: Sequence[int], first: int = 0) -> Tensor:
    """Words of 32 bits, int64 of `shape`: h(b ^ h(a ^ i)) for the element number i, key (a, b).

    i counts the elements row by row, up to 2^32 of them, and nothing else is looked at: a batch's first rows have the
    same words whatever the size of the batch. first: the i to begin with, for a tile of something larger.
    On the key's device. Counter-based, as in Salmon et al. 2011.
    """
    counter = torch.arange(first, first + math.prod(shape), device=key.device)
    return hash32(hash32(counter ^ key[0]) ^ key[1]).reshape(tuple(shape))


def dropout_mask(key: Tensor, shape: Sequence[int], p: float, first: int = 0) -> Tensor:
    """True with probability 1 - p, at each element by itself: its random word < (1 - p) 2^32. Bool of `shape`.

    key, first: see `random_words`.
    """
    return random_words(key, shape, first) < round((1 - p) * 2**32)


def random_uniform(key: Tensor, shape: Sequence[int]) -> Tensor:
    """Numbers of U(0, 1), 0 among them and 1 not: a random word's upper 24 bits / 2^24. float32 of `shape`, exact."""
    return (random_words(key, shape) >> 8).to(torch.float32) / 2**24

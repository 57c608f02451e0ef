"""Chebyshev series and polynomials.

A function that ONNX has no operator for is smooth on a few intervals, and a series there. The coefficients are those of
PyTorch's own function in float64, so that a series is as exact as the dtype.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor

from modgrad.export.onnx.lowering.formula import Formula

_TERMS = 42


@cache
def _coefficients(function: Callable[[Tensor], Tensor], low: float, high: float) -> tuple[float, ...]:
    """Of the Chebyshev series on [low, high]."""

    angles = (torch.arange(_TERMS, dtype=torch.float64) + 0.5) * (math.pi / _TERMS)
    values = function(low + (high - low) * (angles.cos() + 1) / 2)
    found = torch.cos(torch.arange(_TERMS, dtype=torch.float64)[:, None] * angles) @ values * (2 / _TERMS)
    found[0] /= 2
    return tuple(found.tolist())


def series(function: Callable[[Tensor], Tensor], low: float, high: float, x: Formula) -> Formula:
    """function(x) for x in [low, high], by Clenshaw's recurrence. Outside, some number."""
    coefficients = _coefficients(function, low, high)
    rounding = torch.finfo(x.dtype).eps / 4 * max(map(abs, coefficients))
    count = max(i for i, c in enumerate(coefficients) if abs(c) > rounding) + 1
    t = ((x - low) * (2 / (high - low)) - 1).clip(-1, 1)
    twice = t * 2
    after, later = x.number(0.0), x.number(coefficients[count - 1])
    for c in coefficients[count - 2 : 0 : -1]:
        after, later = later, twice * later - after + c
    return t * later - after + coefficients[0]


def polynomial(x: Formula, coefficients: Sequence[float]) -> Formula:
    """c[0] + c[1] x + ..."""
    found = x.number(coefficients[-1])
    for c in reversed(coefficients[:-1]):
        found = found * x + c
    return found

"""`torch.nn.functional` on Variables: losses of the difference between input and target, which take weights too."""

from __future__ import annotations

import sys
from typing import Any

import torch.nn.functional as F

from modgrad import nn
from modgrad.graph.dispatch import operator


@operator(F.l1_loss)
def _l1_loss(
    input: Any, target: Any, size_average: None = None, reduce: None = None, reduction: str = "mean", weight: Any = None
) -> Any:
    loss = nn.L1Loss(size_average, reduce, reduction)
    weight = _forgotten_weight() if weight is None else weight
    return loss(input, target) if weight is None else _weighted(loss, input, target, weight)


@operator(F.mse_loss)
def _mse_loss(
    input: Any, target: Any, size_average: None = None, reduce: None = None, reduction: str = "mean", weight: Any = None
) -> Any:
    loss = nn.MSELoss(size_average, reduce, reduction)
    return loss(input, target) if weight is None else _weighted(loss, input, target, weight)


@operator(F.smooth_l1_loss)
def _smooth_l1_loss(
    input: Any, target: Any, size_average: None = None, reduce: None = None, reduction: str = "mean", beta: float = 1.0
) -> Any:
    return nn.SmoothL1Loss(size_average, reduce, reduction, beta)(input, target)


@operator(F.huber_loss)
def _huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0, weight: Any = None) -> Any:
    loss = nn.HuberLoss(reduction, delta)
    if weight is None:
        return loss(input, target)
    terms = _weighted_terms(nn.HuberLoss("none", delta), input, target, weight)
    # PyTorch's mean of this one is over the number of values, not over the sum of the weights
    return terms.mean() if reduction == "mean" else _summed(terms, reduction)


def _weighted(loss: Any, input: Any, target: Any, weight: Any) -> Any:
    terms = _weighted_terms(type(loss)(reduction="none"), input, target, weight)
    return terms.sum() / weight.sum() if loss.reduction == "mean" else _summed(terms, loss.reduction)


def _weighted_terms(loss: Any, input: Any, target: Any, weight: Any) -> Any:
    if weight.shape != input.shape:
        raise ValueError(
            f"{loss}: input has shape {tuple(input.shape)}, weight {tuple(weight.shape)}; they must be the same: write "
            "weight.expand(input.shape)"
        )
    return loss(input, target) * weight


def _summed(terms: Any, reduction: str) -> Any:
    return terms.sum() if reduction == "sum" else terms


def _forgotten_weight() -> Any:
    """The weight that l1_loss was given. PyTorch's (2.13) does not hand it on, and its loss would be another."""
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code is F.l1_loss.__code__:
            return frame.f_locals.get("weight")
    return None

"""`torch.nn.functional` on Variables: loss."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F

from modgrad import nn
from modgrad.graph.dispatch import operator


@operator(F.mse_loss)
def _mse_loss(
    input: Any, target: Any, size_average: None = None, reduce: None = None, reduction: str = "mean", weight: Any = None
) -> Any:
    if weight is not None:
        raise RuntimeError(
            "mse_loss(weight=...) of a Variable is not there in this version: weigh the squares yourself"
        )
    return nn.MSELoss(size_average, reduce, reduction)(input, target)


@operator(F.cross_entropy)
def _cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: None = None,
    ignore_index: int = -100,
    reduce: None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    loss = nn.CrossEntropyLoss(weight, size_average, ignore_index, reduce, reduction, label_smoothing)
    return loss(input, target)

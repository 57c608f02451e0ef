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

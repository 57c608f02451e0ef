"""`torch.nn.functional` on Variables: embedding."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F

from modgrad import nn
from modgrad.graph.call import is_parameter
from modgrad.graph.dispatch import operator


@operator(F.embedding)
def _embedding(
    input: Any,
    weight: Any,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Any:
    if not is_parameter(weight):
        raise RuntimeError(
            "embedding: expected an nn.Parameter as weight; of a Variable take the rows by weight[input]"
        )
    rows, columns = weight.shape
    layer = nn.Embedding(
        rows, columns, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse, _weight=weight.data
    )
    layer.weight = weight
    return layer(input)

"""`torch.nn.functional` on Variables: functions of two vectors."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F

from modgrad import nn
from modgrad.graph.dispatch import operator


@operator(F.pairwise_distance)
def _pairwise_distance(x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Any:
    return nn.PairwiseDistance(p, eps, keepdim)(x1, x2)


@operator(F.cosine_similarity)
def _cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Any:
    return nn.CosineSimilarity(dim, eps)(x1, x2)


@operator(F.bilinear)
def _bilinear(input1: Any, input2: Any, weight: Any, bias: Any = None) -> Any:
    applied = (input2 @ weight.flatten(0, 1).t()).reshape(*input2.shape[:-1], *weight.shape[:2])  # W_o x2 (..., O, I)
    output = (applied * input1.unsqueeze(-2)).sum(-1)
    return output if bias is None else output + bias

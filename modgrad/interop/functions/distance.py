"""`torch.nn.functional` on Variables: functions of two vectors."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F

from modgrad import nn
from modgrad.graph.dispatch import operator
from modgrad.interop.functions.table import of_layer

of_layer(nn.PairwiseDistance, F.pairwise_distance, like="x1 x2 p eps keepdim")
of_layer(nn.CosineSimilarity, F.cosine_similarity, like="x1 x2 dim eps")


@operator(F.bilinear)
def _bilinear(input1: Any, input2: Any, weight: Any, bias: Any = None) -> Any:
    applied = (input2 @ weight.flatten(0, 1).t()).reshape(*input2.shape[:-1], *weight.shape[:2])  # W_o x2 (..., O, I)
    output = (applied * input1.unsqueeze(-2)).sum(-1)
    return output if bias is None else output + bias

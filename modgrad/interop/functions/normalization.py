"""`torch.nn.functional` on Variables: normalization."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F

from modgrad import nn
from modgrad.graph.dispatch import operator


@operator(F.layer_norm)
def _layer_norm(
    input: Any,
    normalized_shape: Any,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
) -> Any:
    output = nn.LayerNorm(normalized_shape, eps, elementwise_affine=False)(input)
    if weight is not None:
        output = output * weight
    return output if bias is None else output + bias

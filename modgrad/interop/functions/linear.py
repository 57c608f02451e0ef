"""`torch.nn.functional` on Variables: linear."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F

from modgrad.graph.dispatch import operator
from modgrad.nn.operators.affine import affine


@operator(F.linear)
def _linear(input: Any, weight: Any, bias: Any = None) -> Any:
    return affine(input, weight, bias)

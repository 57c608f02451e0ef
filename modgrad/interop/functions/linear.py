"""`torch.nn.functional` on Variables: linear."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F

from modgrad.graph.dispatch import operator


@operator(F.linear)
def _linear(input: Any, weight: Any, bias: Any = None) -> Any:
    output = input @ weight.t()
    return output if bias is None else output + bias

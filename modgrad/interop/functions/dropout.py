"""`torch.nn.functional` on Variables: dropout."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F

from modgrad import nn
from modgrad.graph.dispatch import operator


@operator(F.dropout)
def _dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    if inplace:
        raise RuntimeError("dropout(inplace=True): a Variable is never changed in place; write x = F.dropout(x, ...)")
    return nn.Dropout(p).train(training)(input)

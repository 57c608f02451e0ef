"""`torch.nn.functional` on Variables: padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F

from modgrad.graph.dispatch import operator
from modgrad.nn.padding import Pad


@operator(F.pad)
def _pad(input: Any, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Any:
    return Pad(pad, mode, value)(input)

"""What the arguments are made with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Arguments = dict[str, Callable[[], list[tuple[Any, ...]]]]  # function's name -> the arguments to try it on


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64)

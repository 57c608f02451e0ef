"""`torch.nn.functional` on Variables: activation."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from modgrad import nn
from modgrad.graph.dispatch import operator


@operator(F.relu)
def _relu(input: Any, inplace: bool = False) -> Any:
    return nn.ReLU(inplace)(input)


operator(F.tanh)(nn.Tanh())


operator(F.sigmoid)(nn.Sigmoid())


@operator(F.softmax)
def _softmax(input: Any, dim: int | None = None, _stacklevel: int = 3, dtype: torch.dtype | None = None) -> Any:
    return nn.Softmax(dim)(input if dtype is None else input.to(dtype))


@operator(F.log_softmax)
def _log_softmax(input: Any, dim: int | None = None, _stacklevel: int = 3, dtype: torch.dtype | None = None) -> Any:
    return nn.LogSoftmax(dim)(input if dtype is None else input.to(dtype))


@operator(F.gelu)
def _gelu(input: Any, *, approximate: str = "none") -> Any:
    return nn.GELU(approximate)(input)

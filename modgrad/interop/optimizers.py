"""PyTorch's own optimizers on modgrad's parameters."""

from __future__ import annotations

import sys
from types import FrameType

import torch

from modgrad.graph import dispatch

_OPTIMIZER = torch.optim.Optimizer.__module__


def inside_optimizer_step() -> bool:
    """Whether the code that is running was called by the `step` of a PyTorch optimizer, and not by its closure.

    There parameters are plain tensors to be changed. Every such optimizer steps through a function of PyTorch's
    base class, with grad mode off; a closure that computes the loss runs with grad mode on.
    """
    if torch.is_grad_enabled():
        return False
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__") == _OPTIMIZER:
            return True
        frame = frame.f_back
    return False


dispatch.updating = inside_optimizer_step

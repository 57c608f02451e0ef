"""Clipping of gradients.   Pascanu et al. 2013, algorithm 1."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from modgrad.graph.errors import describe

_plainly = torch._C.DisableTorchFunctionSubclass


def total_norm(grads: Sequence[Tensor]) -> Tensor:
    """||g||, the 2-norm of all gradients taken as one vector.   Scalar, of their dtype; 0 where there are none."""
    if not grads:
        return torch.zeros(())
    return torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(grad) for grad in grads]))


def clip_factor(norm: Tensor, max_norm: float) -> Tensor:
    """min(1, max_norm / (||g|| + 1e-6)): what each gradient is multiplied by."""
    return torch.clamp(max_norm / (norm + 1e-6), max=1.0)


def clip_grad_norm_(parameters: Iterable[Any], max_norm: float) -> Tensor:
    """Scale the gradients of `parameters` in place, all by one factor, to a total 2-norm of at most max_norm.

    Returns the norm before. Parameters without a gradient are passed over.
    """
    if isinstance(parameters, Tensor):
        raise TypeError(f"clip_grad_norm_: expected several parameters, got {describe(parameters)}: write [parameter]")
    with _plainly():
        grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if not grads:
            return torch.zeros(())
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))
        torch._foreach_mul_(grads, clip_factor(norm, max_norm))
    return norm

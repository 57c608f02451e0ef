"""Products and distances of vectors in three and more dimensions, each beside its derivatives."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from modgrad.functional.kernel import kernel
from modgrad.functional.reduction import norm_backward

aten = torch.ops.aten

__all__ = [
    "cdist",
    "cdist_grad_x1",
    "cdist_grad_x2",
    "cross",
    "cross_grad_input",
    "cross_grad_other",
]


def cross(input: Tensor, other: Tensor, dim: int) -> Tensor:
    """y = a x b, the vector product along `dim`, which has 3 values. The others broadcast."""
    return torch.linalg.cross(input, other, dim=dim)


def cross_grad_input(grad: Tensor, other: Tensor, dim: int) -> Tensor:
    """dL/da = b x dL/dy."""
    return torch.linalg.cross(other, grad, dim=dim)


def cross_grad_other(grad: Tensor, input: Tensor, dim: int) -> Tensor:
    """dL/db = dL/dy x a."""
    return torch.linalg.cross(grad, input, dim=dim)


def cdist(x1: Tensor, x2: Tensor, p: float, compute_mode: int | None) -> Tensor:
    """y_ij = |a_i - b_j|_p.   a (..., P, M), b (..., R, M), y (..., P, R)."""
    return aten._cdist_forward.default(x1, x2, p, compute_mode)


def _cdist_backward(grad: Tensor, x1: Tensor, x2: Tensor, p: float, output: Tensor) -> Any:
    leading = grad.shape[:-2]
    x1, x2 = (x.expand(*leading, *x.shape[-2:]).contiguous() for x in (x1, x2))
    return aten._cdist_backward.default(grad.contiguous(), x1, x2, p, output.contiguous())


@kernel(_cdist_backward)
def cdist_grad_x1(grad: Tensor, x1: Tensor, x2: Tensor, p: float, output: Tensor) -> Tensor:
    """dL/da_i = the sum over j of dL/dy_ij * sign(a_i - b_j) (|a_i - b_j| / y_ij)^(p - 1), 0 where y_ij = 0.

    For p = inf the whole gradient goes to every component that is the largest.
    """
    difference = x1.unsqueeze(-2) - x2.unsqueeze(-3)  # (..., P, R, M)
    if math.isinf(p):
        largest = difference.abs() == output.unsqueeze(-1)
        return (grad.unsqueeze(-1) * torch.sign(difference) * largest).sum(-2)
    return norm_backward(grad, difference, output, p, (difference.dim() - 1,), False).sum(-2)


def cdist_grad_x2(grad: Tensor, x1: Tensor, x2: Tensor, p: float, output: Tensor) -> Tensor:
    """dL/db_j: as dL/da, the distance being the same from b to a."""
    return cdist_grad_x1(grad.mT, x2, x1, p, output.mT)

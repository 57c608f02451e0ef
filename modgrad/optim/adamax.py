"""Adamax."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from modgrad.optim import many
from modgrad.optim.rule import RuleOptimizer, descent, given, precise


def adamax(
    param: Tensor,
    grad: Tensor,
    exp_avg: Tensor,
    exp_inf: Tensor,
    step: Tensor | float,
    *,
    lr: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    maximize: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """The new parameter p, first moment m, and u, the largest gradient so far, which fades; step counts from 1:

    g = grad + weight_decay p              (-grad to maximize)
    m = beta1 m + (1 - beta1) g            u = max(beta2 u, |g| + eps)
    p = p - lr / (1 - beta1^step) m / u

    Kingma & Ba 2015, algorithm 2.
    """
    grad = descent(param, grad, weight_decay, maximize)
    exp_avg = beta1 * exp_avg + (1 - beta1) * grad
    exp_inf = torch.maximum(beta2 * exp_inf, grad.abs() + eps)
    return param - lr / (1 - beta1 ** precise(step)) * exp_avg / exp_inf, exp_avg, exp_inf


def adamax_(
    params: list[Tensor],
    grads: list[Tensor],
    exp_avgs: list[Tensor],
    exp_infs: list[Tensor],
    step: Tensor,
    *,
    lr: many.Factor,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    maximize: bool,
) -> None:
    """`adamax` in place on tensors of one device, dtype and count."""
    grads = many.descent(params, grads, weight_decay, maximize)
    torch._foreach_lerp_(exp_avgs, grads, 1 - beta1)
    torch._foreach_mul_(exp_infs, beta2)
    sizes = torch._foreach_abs(grads)
    torch._foreach_add_(sizes, eps)
    torch._foreach_maximum_(exp_infs, sizes)
    many.add_quotient_(params, exp_avgs, exp_infs, -lr / (1 - beta1 ** many.number(step)))


class Adamax(RuleOptimizer):
    """Adam by the largest gradient instead of the mean square. See `adamax` for the formula.

    foreach, capturable: kept for PyTorch, to which a state_dict may go; the fastest update runs whatever they say.
    """

    rule, rule_ = staticmethod(adamax), staticmethod(adamax_)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        super().__init__(params, **given(locals()))

"""Lion."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from modgrad.optim import many
from modgrad.optim.optimizer import active
from modgrad.optim.rule import RuleOptimizer, given


def lion(
    param: Tensor,
    grad: Tensor,
    exp_avg: Tensor,
    *,
    lr: float,
    beta1: float = 0.9,
    beta2: float = 0.99,
    weight_decay: float = 0.0,
    maximize: bool = False,
) -> tuple[Tensor, Tensor]:
    """The new parameter p and mean m of the gradients g (-g to maximize):

    p = p - lr (sign(beta1 m + (1 - beta1) g) + weight_decay p)
    m = beta2 m + (1 - beta2) g

    Chen et al. 2023, algorithm 2.
    """
    grad = -grad if maximize else grad
    move = (beta1 * exp_avg + (1 - beta1) * grad).sign()
    param = param * (1 - lr * weight_decay) if active(weight_decay) else param
    return param - lr * move, beta2 * exp_avg + (1 - beta2) * grad


def lion_(
    params: list[Tensor],
    grads: list[Tensor],
    exp_avgs: list[Tensor],
    *,
    lr: many.Factor,
    beta1: float,
    beta2: float,
    weight_decay: float,
    maximize: bool,
) -> None:
    """`lion` in place on tensors of one device and dtype."""
    if weight_decay:
        many.scale_(params, 1 - lr * weight_decay)
    grads = many.descent(params, grads, 0.0, maximize)
    moves: Any = torch._foreach_mul(exp_avgs, beta1)
    torch._foreach_add_(moves, grads, alpha=1 - beta1)
    torch._foreach_sign_(moves)
    many.add_(params, moves, -lr)
    torch._foreach_mul_(exp_avgs, beta2)
    torch._foreach_add_(exp_avgs, grads, alpha=1 - beta2)


class Lion(RuleOptimizer):
    """Steps of lr in every direction, by the sign of the mean gradient. See `lion` for the formula.

    It wants an lr three to ten times smaller than AdamW's, and a weight_decay as many times larger.
    """

    rule, rule_ = staticmethod(lion), staticmethod(lion_)
    counted = False
    nonnegative = ("lr", "weight_decay")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, **given(locals()))

"""RAdam."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from modgrad.optim import many
from modgrad.optim.optimizer import active
from modgrad.optim.rule import RuleOptimizer, descent, given, precise


def radam(
    param: Tensor,
    grad: Tensor,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    step: Tensor | float,
    *,
    lr: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled_weight_decay: bool = False,
    maximize: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """The new parameter p, first moment m and second moment v; step counts from 1:

    g = grad + weight_decay p                                    (-grad to maximize)
    m = beta1 m + (1 - beta1) g                                  v = beta2 v + (1 - beta2) g^2
    R = 2 / (1 - beta2) - 1                                      rho = R - 2 step beta2^step / (1 - beta2^step)
    r = sqrt((rho - 4) (rho - 2) R / ((R - 4) (R - 2) rho))
    p = p - lr m / (1 - beta1^step) r sqrt(1 - beta2^step) / (sqrt(v) + eps)      where rho > 5
    p = p - lr m / (1 - beta1^step)                                               in the first steps

    Decoupled, the weight decay stays out of g, and p is first multiplied by 1 - lr weight_decay. Liu et al. 2020,
    algorithm 2.
    """
    if decoupled_weight_decay:
        grad = -grad if maximize else grad
        param = param * (1 - lr * weight_decay) if active(weight_decay) else param
    else:
        grad = descent(param, grad, weight_decay, maximize)
    exp_avg = beta1 * exp_avg + (1 - beta1) * grad
    exp_avg_sq = beta2 * exp_avg_sq + (1 - beta2) * grad * grad
    adaptive, plain = _rates(precise(step), lr, beta1, beta2)
    return param - (adaptive / (exp_avg_sq.sqrt() + eps) + plain) * exp_avg, exp_avg, exp_avg_sq


def radam_(
    params: list[Tensor],
    grads: list[Tensor],
    exp_avgs: list[Tensor],
    exp_avg_sqs: list[Tensor],
    step: Tensor,
    *,
    lr: many.Factor,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled_weight_decay: bool,
    maximize: bool,
) -> None:
    """`radam` in place on tensors of one device, dtype and count."""
    if decoupled_weight_decay and weight_decay:
        many.scale_(params, 1 - lr * weight_decay)
    grads = many.descent(params, grads, 0.0 if decoupled_weight_decay else weight_decay, maximize)
    torch._foreach_lerp_(exp_avgs, grads, 1 - beta1)
    many.add_squares_(exp_avg_sqs, grads, beta2)
    adaptive, plain = _rates(many.number(step), lr, beta1, beta2)
    if isinstance(adaptive, Tensor) or adaptive:
        many.add_quotient_(params, exp_avgs, many.root(exp_avg_sqs, eps), -adaptive)
    if isinstance(plain, Tensor) or plain:
        many.add_(params, exp_avgs, -plain)


def _rates(step: Any, lr: Any, beta1: Any, beta2: Any) -> tuple[Any, Any]:
    """What multiplies m / (sqrt(v) + eps), and what multiplies m: one of them is 0."""
    rate, correction2 = lr / (1 - beta1**step), 1 - beta2**step
    limit = 2 / (1 - beta2) - 1
    rho = limit - 2 * step * beta2**step / correction2
    reliable = rho > 5
    if not isinstance(reliable, Tensor) and not reliable:
        return 0.0, rate
    rectified = ((rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho)) ** 0.5
    adaptive = rate * rectified * correction2**0.5
    return many.where(reliable, adaptive, 0.0), many.where(reliable, 0.0, rate)


class RAdam(RuleOptimizer):
    """Adam that goes without the second moment until that is reliable. See `radam` for the formula.

    foreach, capturable: kept for PyTorch, to which a state_dict may go; the fastest update runs whatever they say.
    """

    rule, rule_ = staticmethod(radam), staticmethod(radam_)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        super().__init__(params, **given(locals()))

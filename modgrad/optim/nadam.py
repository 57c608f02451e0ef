"""NAdam."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from modgrad.optim import many
from modgrad.optim.optimizer import Group, State, active
from modgrad.optim.rule import RuleOptimizer, descent, given, precise, scalar


def nadam(
    param: Tensor,
    grad: Tensor,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    mu_product: Tensor,
    step: Tensor | float,
    *,
    lr: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    momentum_decay: float = 4e-3,
    decoupled_weight_decay: bool = False,
    maximize: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The new parameter p, first moment m, second moment v, and M, the product of all momenta; step counts from 1:

    g = grad + weight_decay p                            (-grad to maximize)
    mu(t) = beta1 (1 - 0.96^(t momentum_decay) / 2)      M = M mu(step)
    m = beta1 m + (1 - beta1) g                          v = beta2 v + (1 - beta2) g^2
    p = p - lr ((1 - mu(step)) / (1 - M) g + mu(step + 1) / (1 - M mu(step + 1)) m)
              / (sqrt(v / (1 - beta2^step)) + eps)

    Decoupled, the weight decay stays out of g, and p is first multiplied by 1 - lr weight_decay. Dozat 2016,
    algorithm 2.
    """
    if decoupled_weight_decay:
        grad = -grad if maximize else grad
        param = param * (1 - lr * weight_decay) if active(weight_decay) else param
    else:
        grad = descent(param, grad, weight_decay, maximize)
    exp_avg = beta1 * exp_avg + (1 - beta1) * grad
    exp_avg_sq = beta2 * exp_avg_sq + (1 - beta2) * grad * grad
    step = precise(step)
    mu, following = _momentum(step, beta1, momentum_decay), _momentum(step + 1, beta1, momentum_decay)
    mu_product = mu_product * mu.to(mu_product.dtype)
    product = mu_product.double()
    spread = (exp_avg_sq / (1 - beta2**step)).sqrt() + eps
    moved = (1 - mu) / (1 - product) * grad + following / (1 - product * following) * exp_avg
    return param - lr * moved / spread, exp_avg, exp_avg_sq, mu_product


def nadam_(
    params: list[Tensor],
    grads: list[Tensor],
    exp_avgs: list[Tensor],
    exp_avg_sqs: list[Tensor],
    mu_product: Tensor,
    step: Tensor,
    *,
    lr: many.Factor,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    momentum_decay: float,
    decoupled_weight_decay: bool,
    maximize: bool,
) -> tuple[Tensor]:
    """`nadam` in place on tensors of one device, dtype and count. Gives the new mu_product."""
    if decoupled_weight_decay and weight_decay:
        many.scale_(params, 1 - lr * weight_decay)
    grads = many.descent(params, grads, 0.0 if decoupled_weight_decay else weight_decay, maximize)
    torch._foreach_lerp_(exp_avgs, grads, 1 - beta1)
    many.add_squares_(exp_avg_sqs, grads, beta2)
    count = many.number(step)
    mu, following = _momentum(count, beta1, momentum_decay), _momentum(count + 1, beta1, momentum_decay)
    mu_product = mu_product * mu
    product = many.number(mu_product)
    spreads = many.root(exp_avg_sqs, eps, over=(1 - beta2**count) ** 0.5)
    many.add_quotient_(params, grads, spreads, -lr * (1 - mu) / (1 - product))
    many.add_quotient_(params, exp_avgs, spreads, -lr * following / (1 - product * following))
    return (mu_product,)


def _momentum(step: Any, beta1: float, momentum_decay: float) -> Any:
    return beta1 * (1 - 0.5 * 0.96 ** (step * momentum_decay))


class NAdam(RuleOptimizer):
    """Adam with Nesterov's momentum. See `nadam` for the formula.

    foreach, capturable: kept for PyTorch, to which a state_dict may go; the fastest update runs whatever they say.
    """

    rule, rule_ = staticmethod(nadam), staticmethod(nadam_)
    scalars = ("step", "mu_product")
    nonnegative = (*RuleOptimizer.nonnegative, "momentum_decay")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        super().__init__(params, **given(locals()))

    def initial(self, param: Tensor, group: Group) -> State:
        return {**super().initial(param, group), "mu_product": scalar(param, 1.0)}

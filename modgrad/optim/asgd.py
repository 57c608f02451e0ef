"""Averaged stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from modgrad.optim import many
from modgrad.optim.optimizer import Group, State
from modgrad.optim.rule import RuleOptimizer, descent, given, precise, scalar


def asgd(
    param: Tensor,
    grad: Tensor,
    ax: Tensor,
    mu: Tensor,
    eta: Tensor,
    step: Tensor | float,
    *,
    lr: float,
    lambd: float = 1e-4,
    alpha: float = 0.75,
    t0: float = 1e6,
    weight_decay: float = 0.0,
    maximize: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The new parameter p, average a, its weight mu and rate eta for the step after; step counts from 1:

    g = grad + weight_decay p                    (-grad to maximize)
    p = (1 - lambd eta) p - eta g                a = a + mu (p - a)
    eta = lr / (1 + lambd lr step)^alpha         mu = 1 / max(1, step - t0)

    Polyak & Juditsky 1992; the rates of Bottou's sgd, 2010. What is averaged is in the state, as "ax".
    """
    grad = descent(param, grad, weight_decay, maximize)
    rate, weight, step = eta.double(), mu.double(), precise(step)
    param = (1 - lambd * rate) * param - rate * grad
    ax = param - (1 - weight) * (param - ax)  # param itself while weight is 1
    eta = lr / (1 + lambd * lr * step) ** alpha
    return param, ax, 1 / torch.clamp(step - t0, min=1), eta


def asgd_(
    params: list[Tensor],
    grads: list[Tensor],
    axs: list[Tensor],
    mu: Tensor,
    eta: Tensor,
    step: Tensor,
    *,
    lr: many.Factor,
    lambd: float,
    alpha: float,
    t0: float,
    weight_decay: float,
    maximize: bool,
) -> tuple[many.Factor, many.Factor]:
    """`asgd` in place on tensors of one device, dtype and count. Gives the new mu and eta."""
    grads = many.descent(params, grads, weight_decay, maximize)
    rate, weight, count = many.number(eta), many.number(mu), many.number(step)
    many.scale_(params, 1 - lambd * rate)
    many.add_(params, grads, -rate)
    if not isinstance(weight, Tensor) and weight == 1:
        torch._foreach_copy_(axs, params)
    else:
        many.add_(axs, list(torch._foreach_sub(params, axs)), weight)
    eta = lr / (1 + lambd * lr * count) ** alpha
    return 1 / (torch.clamp(count - t0, min=1) if isinstance(count, Tensor) else max(1, count - t0)), eta


class ASGD(RuleOptimizer):
    """Stochastic gradient descent that keeps the mean of the parameters beside them. See `asgd` for the formula.

    foreach, capturable: kept for PyTorch, to which a state_dict may go; the fastest update runs whatever they say.
    """

    rule, rule_ = staticmethod(asgd), staticmethod(asgd_)
    scalars = ("step", "mu", "eta")
    nonnegative = ("lr", "weight_decay")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0.0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        super().__init__(params, **given(locals()))

    def initial(self, param: Tensor, group: Group) -> State:
        scalars = {"mu": scalar(param, 1.0), "eta": scalar(param, float(group["lr"]))}
        return {**super().initial(param, group), **scalars}

"""Adagrad."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from modgrad.optim.optimizer import Group, State, active
from modgrad.optim.rule import RuleOptimizer, descent, given, precise


def adagrad(
    param: Tensor,
    grad: Tensor,
    sum: Tensor,
    step: Tensor | float,
    *,
    lr: float,
    lr_decay: float = 0.0,
    eps: float = 1e-10,
    weight_decay: float = 0.0,
    maximize: bool = False,
) -> tuple[Tensor, Tensor]:
    """The new parameter p and sum of squares s; step counts from 1:

    g = grad + weight_decay p          (-grad to maximize)
    s = s + g^2
    p = p - lr / (1 + (step - 1) lr_decay) g / (sqrt(s) + eps)

    Duchi et al. 2011, figure 1 with diagonal matrices.
    """
    grad = descent(param, grad, weight_decay, maximize)
    sum = sum + grad * grad
    rate = lr / (1 + (precise(step) - 1) * lr_decay) if active(lr_decay) else lr
    return param - rate * grad / (sum.sqrt() + eps), sum


def adagrad_(
    params: list[Tensor], grads: list[Tensor], sums: list[Tensor], step: Tensor, *, lr: Any, **hyper: Any
) -> None:
    """`adagrad` in place on tensors of one device, dtype and count, by ATen's fused kernel."""
    lr = lr.float() if isinstance(lr, Tensor) else lr
    torch._fused_adagrad_(params, grads, sums, [step] * len(params), lr=lr, **hyper)
    torch._C._increment_version(params)  # which the kernel leaves out, and a change could not be told


class Adagrad(RuleOptimizer):
    """Steps that grow smaller the more a parameter has moved. See `adagrad` for the formula.

    foreach, fused: kept for PyTorch, to which a state_dict may go; the fastest update runs whatever they say.
    """

    rule, rule_ = staticmethod(adagrad), staticmethod(adagrad_)
    blocked = False
    nonnegative = (*RuleOptimizer.nonnegative, "lr_decay", "initial_accumulator_value")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(params, **given(locals()))

    def initial(self, param: Tensor, group: Group) -> State:
        state = super().initial(param, group)
        state["sum"].fill_(group["initial_accumulator_value"])
        return state

"""Rprop."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from modgrad.optim.optimizer import Group, State
from modgrad.optim.rule import RuleOptimizer, given


def rprop(
    param: Tensor,
    grad: Tensor,
    prev: Tensor,
    step_size: Tensor,
    *,
    etas: tuple[float, float] = (0.5, 1.2),
    step_sizes: tuple[float, float] = (1e-6, 50),
    maximize: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """The new parameter p, gradient, and size of the steps s, which grows by etas[1] and shrinks by etas[0]:

    g = grad                                                         (-grad to maximize)
    s = clamp(s etas[1 if g prev > 0], [0 if g prev < 0]; else s)    to within step_sizes
    g = 0 where g prev < 0
    p = p - s sign(g)

    Riedmiller & Braun 1993, without taking back a step (iRprop-, Igel & Huesken 2000, algorithm 4).
    """
    grad = -grad if maximize else grad
    turned = grad * prev
    slower, faster = step_size * etas[0], step_size * etas[1]
    step_size = torch.where(turned > 0, faster, torch.where(turned < 0, slower, step_size))
    step_size = torch.clamp(step_size, *step_sizes)
    grad = torch.where(turned < 0, 0.0, grad)
    return param - step_size * grad.sign(), grad, step_size


def rprop_(
    params: list[Tensor],
    grads: list[Tensor],
    prevs: list[Tensor],
    step_sizes_: list[Tensor],
    *,
    etas: tuple[float, float],
    step_sizes: tuple[float, float],
    maximize: bool,
) -> None:
    """`rprop` in place on tensors of one device and dtype."""
    turned: Any = torch._foreach_mul(grads, prevs)
    if maximize:
        torch._foreach_neg_(turned)
    torch._foreach_copy_(prevs, grads)
    if maximize:
        torch._foreach_neg_(prevs)
    torch._foreach_sign_(turned)
    for prev, sign in zip(prevs, turned, strict=True):
        back, on, still = sign < 0, sign > 0, sign == 0
        prev.masked_fill_(back, 0)
        sign.masked_fill_(back, etas[0]).masked_fill_(on, etas[1]).masked_fill_(still, 1)
    torch._foreach_mul_(step_sizes_, turned)
    torch._foreach_clamp_min_(step_sizes_, step_sizes[0])
    torch._foreach_clamp_max_(step_sizes_, step_sizes[1])
    torch._foreach_addcmul_(params, torch._foreach_sign(prevs), step_sizes_, value=-1)


class Rprop(RuleOptimizer):
    """Steps by the gradient's sign, longer while it stays, shorter when it turns; for whole data sets, not batches.

    lr: the size of the first step. See `rprop` for the formula.
    foreach, capturable: kept for PyTorch, to which a state_dict may go; the fastest update runs whatever they say.
    """

    rule, rule_ = staticmethod(rprop), staticmethod(rprop_)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        super().__init__(params, **given(locals()))

    def _refuse(self, hyper: Any) -> None:
        super()._refuse(hyper)
        if not 0 < hyper["etas"][0] < 1 < hyper["etas"][1]:
            raise ValueError(f"Rprop(etas={hyper['etas']}): expected one between 0 and 1, and one above 1")

    def initial(self, param: Tensor, group: Group) -> State:
        state = super().initial(param, group)
        state["step_size"].fill_(float(group["lr"]))
        return state

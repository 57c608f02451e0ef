"""Adadelta."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from modgrad.optim import many
from modgrad.optim.rule import RuleOptimizer, descent, given


def adadelta(
    param: Tensor,
    grad: Tensor,
    square_avg: Tensor,
    acc_delta: Tensor,
    *,
    lr: float,
    rho: float = 0.9,
    eps: float = 1e-6,
    weight_decay: float = 0.0,
    maximize: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """The new parameter p, mean square v of the gradients, and mean square u of the steps:

    g = grad + weight_decay p              (-grad to maximize)
    v = rho v + (1 - rho) g^2
    d = sqrt(u + eps) / sqrt(v + eps) g    u = rho u + (1 - rho) d^2
    p = p - lr d

    Zeiler 2012, algorithm 1.
    """
    grad = descent(param, grad, weight_decay, maximize)
    square_avg = rho * square_avg + (1 - rho) * grad * grad
    delta = (acc_delta + eps).sqrt() / (square_avg + eps).sqrt() * grad
    return param - lr * delta, square_avg, rho * acc_delta + (1 - rho) * delta * delta


def adadelta_(
    params: list[Tensor],
    grads: list[Tensor],
    square_avgs: list[Tensor],
    acc_deltas: list[Tensor],
    *,
    lr: many.Factor,
    rho: float,
    eps: float,
    weight_decay: float,
    maximize: bool,
) -> None:
    """`adadelta` in place on tensors of one device and dtype."""
    grads = many.descent(params, grads, weight_decay, maximize)
    many.add_squares_(square_avgs, grads, rho)
    spreads = torch._foreach_add(square_avgs, eps)
    torch._foreach_sqrt_(spreads)
    deltas: Any = torch._foreach_add(acc_deltas, eps)
    torch._foreach_sqrt_(deltas)
    torch._foreach_div_(deltas, spreads)
    torch._foreach_mul_(deltas, grads)
    many.add_squares_(acc_deltas, deltas, rho)
    many.add_(params, deltas, -lr)


class Adadelta(RuleOptimizer):
    """Steps in the parameters' own units, from the size of earlier ones. See `adadelta` for the formula.

    foreach, capturable: kept for PyTorch, to which a state_dict may go; the fastest update runs whatever they say.
    """

    rule, rule_ = staticmethod(adadelta), staticmethod(adadelta_)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        super().__init__(params, **given(locals()))

    def _refuse(self, hyper: Any) -> None:
        super()._refuse(hyper)
        if not 0 <= hyper["rho"] <= 1:
            raise ValueError(f"Adadelta(rho={hyper['rho']}): expected a number from 0 to 1")

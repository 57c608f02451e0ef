"""RMSprop."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor

from modgrad.optim import many
from modgrad.optim.optimizer import active
from modgrad.optim.rule import RuleOptimizer, descent, given


def rmsprop(
    param: Tensor,
    grad: Tensor,
    square_avg: Tensor,
    grad_avg: Tensor | None,
    momentum_buffer: Tensor | None,
    *,
    lr: float,
    alpha: float = 0.99,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    momentum: float = 0.0,
    centered: bool = False,
    maximize: bool = False,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """The new parameter p, mean square v, (centered) mean m of the gradients, and (with momentum) buffer b:

    g = grad + weight_decay p                  (-grad to maximize)
    v = alpha v + (1 - alpha) g^2              m = alpha m + (1 - alpha) g
    b = momentum b + g / (sqrt(v) + eps)       (centered: sqrt(v - m^2) + eps)
    p = p - lr b

    Tieleman & Hinton 2012, lecture 6.5; Graves 2013, equations 38 to 45, for the centered form.
    """
    grad = descent(param, grad, weight_decay, maximize)
    square_avg = alpha * square_avg + (1 - alpha) * grad * grad
    spread = square_avg
    if centered and grad_avg is not None:
        grad_avg = alpha * grad_avg + (1 - alpha) * grad
        spread = square_avg - grad_avg * grad_avg
    move = grad / (spread.sqrt() + eps)
    if active(momentum) and momentum_buffer is not None:
        move = momentum_buffer = momentum * momentum_buffer + move
    return param - lr * move, square_avg, grad_avg, momentum_buffer


def rmsprop_(
    params: list[Tensor],
    grads: list[Tensor],
    square_avgs: list[Tensor],
    grad_avgs: list[Tensor],
    momentum_buffers: list[Tensor],
    *,
    lr: many.Factor,
    alpha: float,
    eps: float,
    weight_decay: float,
    momentum: float,
    centered: bool,
    maximize: bool,
) -> None:
    """`rmsprop` in place on tensors of one device and dtype."""
    grads = many.descent(params, grads, weight_decay, maximize)
    many.add_squares_(square_avgs, grads, alpha)
    spreads: Any = square_avgs
    if centered:
        torch._foreach_lerp_(grad_avgs, grads, 1 - alpha)
        spreads = torch._foreach_addcmul(square_avgs, grad_avgs, grad_avgs, value=-1)
    spreads = many.root(spreads, eps)
    if momentum:
        torch._foreach_mul_(momentum_buffers, momentum)
        torch._foreach_addcdiv_(momentum_buffers, grads, spreads)
        many.add_(params, momentum_buffers, -lr)
    else:
        many.add_quotient_(params, grads, spreads, -lr)


class RMSprop(RuleOptimizer):
    """Gradients over their root mean square. See `rmsprop` for the formula.

    foreach, capturable: kept for PyTorch, to which a state_dict may go; the fastest update runs whatever they say.
    """

    rule, rule_ = staticmethod(rmsprop), staticmethod(rmsprop_)
    optional: ClassVar = {"grad_avg": "centered", "momentum_buffer": "momentum"}
    nonnegative = (*RuleOptimizer.nonnegative, "momentum", "alpha")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        super().__init__(params, **given(locals()))

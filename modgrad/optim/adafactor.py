"""Adafactor."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from modgrad.optim.optimizer import Group, State, active
from modgrad.optim.rule import RuleOptimizer, given, precise, scalar


def adafactor(
    param: Tensor,
    grad: Tensor,
    row_var: Tensor | None,
    col_var: Tensor | None,
    variance: Tensor | None,
    step: Tensor | float,
    *,
    lr: float,
    beta2_decay: float = -0.8,
    eps: tuple[float | None, float] = (None, 1e-3),
    d: float = 1.0,
    weight_decay: float = 0.0,
    maximize: bool = False,
) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
    """The new parameter p, and of a matrix the mean squares R of its rows and C of its columns, else the squares V:

    w = step^beta2_decay             rate = max(eps2, rms(p)) min(lr, 1 / sqrt(step))
    R = R + w (mean of g^2 over columns - R)     C = C + w (mean of g^2 over rows - C)       V = V + w (g^2 - V)
    V = R C / max(mean(R), eps1)                                                             (of a matrix)
    u = g / sqrt(max(V, eps1^2))
    p = (1 - lr weight_decay) p - rate u / max(1, rms(u) / d)

    rms(x) = sqrt(mean(x^2)). step counts from 1. eps1: None is the smallest difference to 1 in p's dtype. What has more
    than two dimensions is a stack of matrices. Shazeer & Stern 2018, algorithms 4 and 5, without the first
    moment.
    """
    grad = -grad if maximize else grad
    eps1, eps2 = eps
    if eps1 is None:
        eps1 = torch.finfo(param.dtype).eps
    step = precise(step)
    weight = step**beta2_decay
    rate = _at_least(eps2, _rms(param)) * torch.clamp(step**-0.5, max=lr)
    param = param * (1 - lr * weight_decay) if active(weight_decay) else param
    square = grad * grad
    if row_var is not None and col_var is not None:
        row_var = row_var + weight * (square.mean(-1, keepdim=True) - row_var)
        col_var = col_var + weight * (square.mean(-2, keepdim=True) - col_var)
        estimate = row_var * col_var / torch.clamp(row_var.mean(-2, keepdim=True), min=eps1)
    else:
        assert variance is not None
        estimate = variance = variance + weight * (square - variance)
    move = grad / torch.clamp(estimate, min=eps1 * eps1).sqrt()
    return param - rate / _at_least(1.0, _rms(move) / d) * move, row_var, col_var, variance


def _at_least(least: Any, x: Tensor) -> Tensor:
    """max(least, x), and `least` for NaN, which then stays with the values that have it."""
    return torch.where(x > least, x, least)


def _rms(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x) / max(x.numel(), 1) ** 0.5


class Adafactor(RuleOptimizer):
    """Adam that keeps of a matrix's second moment only the means of rows and columns. See `adafactor` for the formula.

    foreach: kept for PyTorch, to which a state_dict may go; every parameter is updated by itself.
    """

    rule = staticmethod(adafactor)
    elementwise = False
    nonnegative = ("lr", "weight_decay")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, **given(locals()))

    def _refuse(self, hyper: Any) -> None:
        super()._refuse(hyper)
        if hyper["beta2_decay"] > 0:
            raise ValueError(f"Adafactor(beta2_decay={hyper['beta2_decay']}): expected a number up to 0")
        if any(eps is not None and eps < 0 for eps in hyper["eps"]):
            raise ValueError(f"Adafactor(eps={hyper['eps']}): expected two numbers from 0 up, of which one may be None")
        if hyper["d"] < 1:
            raise ValueError(f"Adafactor(d={hyper['d']}): expected a number from 1 up")

    def kept(self, group: Group) -> tuple[str, ...]:
        return ()  # which depends on the parameter

    def initial(self, param: Tensor, group: Group) -> State:
        state: State = {"step": scalar(param)}
        if param.dim() < 2:
            return {**state, "variance": torch.zeros_like(param, memory_format=torch.preserve_format)}
        *stack, rows, columns = param.shape
        return {
            **state,
            "row_var": param.new_zeros(*stack, rows, 1),
            "col_var": param.new_zeros(*stack, 1, columns),
        }

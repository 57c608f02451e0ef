"""Muon."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from modgrad.graph.errors import describe
from modgrad.optim.optimizer import active
from modgrad.optim.rule import RuleOptimizer, given

COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def muon(
    param: Tensor,
    grad: Tensor,
    momentum_buffer: Tensor,
    *,
    lr: float,
    weight_decay: float = 0.1,
    momentum: float = 0.95,
    nesterov: bool = True,
    ns_coefficients: tuple[float, float, float] = COEFFICIENTS,
    eps: float = 1e-7,
    ns_steps: int = 5,
    adjust_lr_fn: str | None = None,
) -> tuple[Tensor, Tensor]:
    """The new matrix p and mean b of the gradients g:   p, g, b (n, m)

    b = b + (1 - momentum) (g - b)
    u = b                              (nesterov: u = g + momentum (b - g))
    p = (1 - lr weight_decay) p - c lr orthogonal(u)

    c is sqrt(max(1, n / m)), or ("match_rms_adamw") 0.2 sqrt(max(n, m)). Jordan et al. 2024; Liu et al. 2025,
    equation 4.
    """
    momentum_buffer = momentum_buffer + (1 - momentum) * (grad - momentum_buffer)
    # As torch.lerp rounds it from a weight of 1/2 on: what follows is in 8 bits, where one rounding more is seen.
    move = momentum_buffer - (momentum_buffer - grad) * (1 - momentum) if nesterov else momentum_buffer
    move = orthogonal(move, ns_coefficients, ns_steps, eps).to(param.dtype)
    rows, columns = param.shape
    adjusted = (
        0.2 * math.sqrt(max(rows, columns)) if adjust_lr_fn == "match_rms_adamw" else math.sqrt(max(1, rows / columns))
    )
    param = param * (1 - lr * weight_decay) if active(weight_decay) else param
    return param - lr * adjusted * move, momentum_buffer


def orthogonal(matrix: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float) -> Tensor:
    """U V^T, or about, of the matrix U S V^T, by Newton and Schulz: each step takes X's singular values s towards 1,

    X = matrix / max(||matrix||, eps)
    X = a X + (b X X^T + c (X X^T)^2) X        (s -> a s + b s^3 + c s^5)

    in bfloat16, on the shorter side. Jordan et al. 2024, after Bernstein & Newhouse 2024.   (n, m) -> (n, m)
    """
    a, b, c = coefficients
    x = matrix.bfloat16()
    tall = matrix.shape[0] > matrix.shape[1]
    x = x.T if tall else x
    x = x / torch.clamp(torch.linalg.vector_norm(x), min=eps)
    for _ in range(steps):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x


class Muon(RuleOptimizer):
    """Momentum made orthogonal, so that a step moves every direction of a matrix alike. See `muon` for the formula.

    For the matrices within a model; leave embeddings, biases, and what gives the output to AdamW.
    """

    rule = staticmethod(muon)
    elementwise = False
    counted = False
    structural = frozenset({"ns_coefficients", "ns_steps"})
    nonnegative = ("lr", "weight_decay", "momentum")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = COEFFICIENTS,
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        super().__init__(params, **given(locals()))

    def _refuse(self, hyper: Any) -> None:
        super()._refuse(hyper)
        if hyper["adjust_lr_fn"] not in (None, "original", "match_rms_adamw"):
            raise ValueError(
                f"Muon(adjust_lr_fn={hyper['adjust_lr_fn']!r}): expected 'original', which None is too, or "
                "'match_rms_adamw'"
            )
        if not 0 <= hyper["ns_steps"] < 100:
            raise ValueError(f"Muon(ns_steps={hyper['ns_steps']}): expected a number of steps from 0 to 99")
        if len(hyper["ns_coefficients"]) != 3:
            raise ValueError(f"Muon(ns_coefficients={hyper['ns_coefficients']}): expected three numbers")
        for param in hyper.get("params", ()):
            if isinstance(param, Tensor) and param.dim() != 2:
                raise ValueError(
                    f"Muon updates matrices, got {describe(param)}: give parameters of other shapes to an AdamW"
                )

"""Adam for sparse gradients."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from modgrad.optim import many
from modgrad.optim.optimizer import State
from modgrad.optim.rule import RuleOptimizer, given, precise


def sparse_adam(
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
    maximize: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """The new parameter p, first moment m and second moment v, of which only what the sparse gradient g has changes:

    m = beta1 m + (1 - beta1) g                v = beta2 v + (1 - beta2) g^2        (g = -g to maximize)
    p = p - lr sqrt(1 - beta2^step) / (1 - beta1^step) m / (sqrt(v) + eps)

    After Kingma & Ba 2015, end of section 2, whose eps is outside of the correction. step counts from 1.
    """
    where, grad = _entries(grad, maximize)
    step = precise(step)
    rate = lr * (1 - beta2**step).sqrt() / (1 - beta1**step)
    first, second = exp_avg[where], exp_avg_sq[where]
    first, second = first + (1 - beta1) * (grad - first), second + (1 - beta2) * (grad * grad - second)
    move = rate * first / (second.sqrt() + eps)
    return (
        param.index_put(where, param[where] - move),
        exp_avg.index_put(where, first),
        exp_avg_sq.index_put(where, second),
    )


def sparse_adam_(
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
    maximize: bool,
) -> None:
    """`sparse_adam` in place on tensors of one count: it takes as long as the gradients have entries."""
    count = many.number(step)
    rate = lr * (1 - beta2**count) ** 0.5 / (1 - beta1**count)
    for param, sparse, exp_avg, exp_avg_sq in zip(params, grads, exp_avgs, exp_avg_sqs, strict=True):
        where, grad = _entries(sparse, maximize)
        first, second = exp_avg[where], exp_avg_sq[where]
        first.lerp_(grad, 1 - beta1)
        second.lerp_(grad * grad, 1 - beta2)
        exp_avg.index_put_(where, first)
        exp_avg_sq.index_put_(where, second)
        param.index_put_(where, first.div_(second.sqrt_().add_(eps)).mul_(-rate), accumulate=True)


def _entries(grad: Tensor, maximize: bool) -> tuple[tuple[Tensor, ...], Tensor]:
    """Where a sparse gradient has entries, and these, those at one place added up."""
    grad = grad.coalesce()
    values = grad.values()
    return tuple(grad.indices()), -values if maximize else values


class SparseAdam(RuleOptimizer):
    """Adam for gradients that are sparse tensors, which changes only what they have entries for. See `sparse_adam`.

    modgrad's own backward gives dense gradients throughout: this is for parameters whose `grad_v` you set yourself, as
    from a table that is looked up elsewhere. A dense gradient is refused.
    """

    rule, rule_ = staticmethod(sparse_adam), staticmethod(sparse_adam_)
    takes_sparse = True
    unfit = "is for sparse gradients, and the gradients of a step are dense: write optim.Adam"

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, **given(locals()))

    def _refuse(self, hyper: Any) -> None:
        super()._refuse(hyper)
        for name in ("lr", "eps"):
            if not hyper[name] > 0:
                raise ValueError(f"SparseAdam({name}={hyper[name]}): expected a number above 0")

    def _saved(self, state: State) -> State:
        return {**state, "step": int(state["step"])}  # as PyTorch has it, in this one

"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from modgrad.optim.optimizer import active
from modgrad.optim.rule import RuleOptimizer, descent, given


def adam(
    param: Tensor,
    grad: Tensor,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    max_exp_avg_sq: Tensor | None,
    step: Tensor | float,
    *,
    lr: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    amsgrad: bool = False,
    maximize: bool = False,
    decoupled_weight_decay: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """The new parameter p, first moment m, second moment v, and (amsgrad) largest v; step counts from 1:

    g = grad + weight_decay p                  (-grad to maximize)
    m = beta1 m + (1 - beta1) g                v = beta2 v + (1 - beta2) g^2
    p = p - lr (m / (1 - beta1^step)) / (sqrt(v / (1 - beta2^step)) + eps)

    With amsgrad the largest v so far stands in for v. Decoupled, the weight decay stays out of g, and p is first
    multiplied by 1 - lr weight_decay. Kingma & Ba 2015, algorithm 1; Reddi et al. 2018, algorithm 2; Loshchilov &
    Hutter 2019, algorithm 2.
    """
    if decoupled_weight_decay:
        grad = -grad if maximize else grad
        param = param * (1 - lr * weight_decay) if active(weight_decay) else param
    else:
        grad = descent(param, grad, weight_decay, maximize)
    exp_avg = beta1 * exp_avg + (1 - beta1) * grad
    exp_avg_sq = beta2 * exp_avg_sq + (1 - beta2) * grad * grad
    second = exp_avg_sq
    if amsgrad:
        second = max_exp_avg_sq = exp_avg_sq if max_exp_avg_sq is None else torch.maximum(max_exp_avg_sq, exp_avg_sq)
    if isinstance(step, Tensor):
        step = step.double()  # at the first steps 1 - beta2**step would have four digits in float32
    correction1, correction2 = 1 - beta1**step, 1 - beta2**step
    spread = second.sqrt() / correction2**0.5 + eps
    return param - lr / correction1 * exp_avg / spread, exp_avg, exp_avg_sq, max_exp_avg_sq


def adam_(
    params: list[Tensor],
    grads: list[Tensor],
    exp_avgs: list[Tensor],
    exp_avg_sqs: list[Tensor],
    max_exp_avg_sqs: list[Tensor],
    step: Tensor,
    *,
    decoupled_weight_decay: bool = False,
    **hyper: Any,
) -> None:
    """`adam` in place on tensors of one device, dtype and count, by ATen's fused kernel.

    max_exp_avg_sqs: [] or amsgrad's.
    """
    fused = torch._fused_adamw_ if decoupled_weight_decay else torch._fused_adam_
    if isinstance(hyper["lr"], Tensor):
        hyper["lr"] = hyper["lr"].float()
    fused(params, grads, exp_avgs, exp_avg_sqs, max_exp_avg_sqs, [step] * len(params), **hyper)
    torch._C._increment_version(params)  # which the kernel leaves out, and a change could not be told


class Adam(RuleOptimizer):
    """Steps of about lr, in the direction of the mean gradient over its spread. See `adam` for the formula.

    foreach, fused, capturable: kept for PyTorch, to which a state_dict may go. Here the fastest update runs whatever
    they say, and never waits for a number from a GPU.
    """

    rule, rule_ = staticmethod(adam), staticmethod(adam_)
    blocked = False
    optional: ClassVar = {"max_exp_avg_sq": "amsgrad"}

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        super().__init__(params, **given(locals()))


class AdamW(Adam):
    """Adam whose weight decay shrinks the parameters by themselves, apart from the gradient. See `adam`."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(params, **given(locals()), decoupled_weight_decay=True)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        super().load_state_dict(state_dict)
        for group in self.param_groups:
            group["decoupled_weight_decay"] = True  # Adam's state serves too

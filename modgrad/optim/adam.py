"""Adam."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from modgrad.functional.kernel import running_formulas
from modgrad.optim.optimizer import Group, Optimizer, State, active, assign, same_kind


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
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """The new parameter p, first moment m, second moment v, and (amsgrad) largest v; step counts from 1:

    g = grad + weight_decay p                  (-grad to maximize)
    m = beta1 m + (1 - beta1) g                v = beta2 v + (1 - beta2) g^2
    p = p - lr (m / (1 - beta1^step)) / (sqrt(v / (1 - beta2^step)) + eps)

    With amsgrad the largest v so far stands in for v. Kingma & Ba 2015, algorithm 1; Reddi et al. 2018.
    """
    grad = -grad if maximize else grad
    if active(weight_decay):
        grad = grad + weight_decay * param
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
    steps: list[Tensor],
    **hyper: Any,
) -> None:
    """`adam` in place on tensors of one device and dtype, by ATen's fused kernel. max_exp_avg_sqs: [] or amsgrad's."""
    torch._fused_adam_(params, grads, exp_avgs, exp_avg_sqs, max_exp_avg_sqs, steps, **hyper)


class Adam(Optimizer):
    """Steps of about lr, in the direction of the mean gradient over its spread. See `adam` for the formula."""

    _counts: dict[Any, Tensor] | None = None  # inside `in_parts`: what `_advance` has made so far

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad, maximize=maximize
        )

    def _refuse(self, hyper: Mapping[str, Any]) -> None:
        for name in ("lr", "eps", "weight_decay"):
            if hyper[name] < 0:
                raise ValueError(f"Adam({name}={hyper[name]}): expected a number from 0 up")
        if hyper.get("decoupled_weight_decay"):
            raise ValueError("Adam(decoupled_weight_decay=True), which is AdamW, is not there in this version")
        if not all(0 <= beta < 1 for beta in hyper["betas"]):
            raise ValueError(f"Adam(betas={hyper['betas']}): expected two numbers from 0 to below 1")

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        super().load_state_dict(state_dict)
        for group in self.param_groups:  # equal counts become one again, see `_advance`
            counts: dict[Any, Tensor] = {}
            for parameter in group["params"]:
                if state := self.state.get(parameter):
                    device, step = state["exp_avg"].device, float(state["step"])
                    state["step"] = counts.setdefault((device, step), torch.tensor(step, device=device))

    def initial(self, param: Tensor, group: Group) -> State:
        moments = ["exp_avg", "exp_avg_sq", *(["max_exp_avg_sq"] if group["amsgrad"] else [])]
        state = {name: torch.zeros_like(param, memory_format=torch.preserve_format) for name in moments}
        return {"step": torch.zeros((), device=param.device), **state}

    def initials(self, params: list[Any], group: Group) -> list[State]:
        states = super().initials(params, group)
        counts: dict[torch.device, Tensor] = {}
        for state in states:
            state["step"] = counts.setdefault(state["step"].device, state["step"])
        return states

    @contextmanager
    def in_parts(self) -> Iterator[None]:
        self._counts = {}
        try:
            yield
        finally:
            self._counts = None

    def update(self, params: list[Any], grads: list[Tensor], states: list[State], group: Group) -> None:
        hyper = {
            "lr": group["lr"],
            "beta1": group["betas"][0],
            "beta2": group["betas"][1],
            "eps": group["eps"],
            "weight_decay": group["weight_decay"],
            "amsgrad": group["amsgrad"],
            "maximize": group["maximize"],
        }
        self._advance(params, states, group)
        if running_formulas():
            for i, (param, grad, state) in enumerate(zip(params, grads, states, strict=True)):
                new, state["exp_avg"], state["exp_avg_sq"], largest = adam(
                    param,
                    grad,
                    state["exp_avg"],
                    state["exp_avg_sq"],
                    state.get("max_exp_avg_sq"),
                    state["step"],
                    **hyper,
                )
                if group["amsgrad"]:
                    state["max_exp_avg_sq"] = largest
                assign(params, i, new)
            return
        for mine, gradients, memories in same_kind(params, grads, states):
            adam_(
                mine,
                gradients,
                [memory["exp_avg"] for memory in memories],
                [memory["exp_avg_sq"] for memory in memories],
                [memory["max_exp_avg_sq"] for memory in memories] if group["amsgrad"] else [],
                [memory["step"] for memory in memories],
                **hyper,
            )

    def _advance(self, params: list[Any], states: list[State], group: Group) -> None:
        """Count one more step for each, making the moments where it is the first.

        Parameters that have taken equally many steps share one count, so that it is advanced once; it is replaced,
        never changed in place, so that one that stands still keeps its own.
        """
        advanced: dict[Any, Tensor] = {} if self._counts is None else self._counts  # by the old one, or by device
        for param, state in zip(params, states, strict=True):
            step = state.get("step")
            if step is None:
                state.update(self.initial(param, group))
                state["step"] = advanced.setdefault(param.device, torch.ones((), device=param.device))
            else:
                following = advanced.get(id(step))
                if following is None:
                    following = advanced[id(step)] = step + 1
                state["step"] = following
            if group["amsgrad"] and "max_exp_avg_sq" not in state:
                state["max_exp_avg_sq"] = torch.zeros_like(param, memory_format=torch.preserve_format)

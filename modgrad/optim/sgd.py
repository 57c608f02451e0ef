"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from modgrad.functional.kernel import running_formulas
from modgrad.optim.optimizer import Group, Optimizer, State, active, assign, same_kind


def sgd(
    param: Tensor,
    grad: Tensor,
    momentum_buffer: Tensor | None,
    *,
    lr: float,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    maximize: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """The new parameter and momentum buffer:

    g = grad + weight_decay p          (-grad to maximize)
    b = momentum b + (1 - dampening) g (the first time b = g)
    p = p - lr b                       (nesterov: p - lr (g + momentum b); without momentum: p - lr g)

    Sutskever et al. 2013. All of one shape.
    """
    grad = -grad if maximize else grad
    if active(weight_decay):
        grad = grad + weight_decay * param
    if active(momentum):
        new = grad if momentum_buffer is None or not active(dampening) else (1 - dampening) * grad
        momentum_buffer = new if momentum_buffer is None else momentum * momentum_buffer + new
        grad = grad + momentum * momentum_buffer if nesterov else momentum_buffer
    return param - lr * grad, momentum_buffer


def sgd_(params: list[Tensor], grads: list[Tensor], momentum_buffers: list[Tensor], **hyper: Any) -> None:
    """`sgd` in place on tensors of one device and dtype, by ATen's fused kernel.

    momentum_buffers: empty without momentum; else one for each, and `is_first_step` among `hyper` says whether they
    are to be filled rather than read.
    """
    torch._fused_sgd_(params, grads, momentum_buffers, **hyper)


class SGD(Optimizer):
    """p = p - lr grad, with momentum (Polyak's or Nesterov's), dampening, weight decay. See `sgd` for the formula."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            momentum=momentum,
            dampening=dampening,
            weight_decay=weight_decay,
            nesterov=nesterov,
            maximize=maximize,
        )

    def _refuse(self, hyper: Mapping[str, Any]) -> None:
        for name in ("lr", "momentum", "weight_decay"):
            if hyper[name] < 0:
                raise ValueError(f"SGD({name}={hyper[name]}): expected a number from 0 up")
        if hyper["nesterov"] and (hyper["momentum"] <= 0 or hyper["dampening"] != 0):
            raise ValueError("SGD(nesterov=True) needs a momentum above 0 and a dampening of 0")

    def initial(self, param: Tensor, group: Group) -> State:
        if not active(group["momentum"]) or active(group["dampening"]):
            return {}  # a buffer is filled with the first gradient undampened: no beginning would give the same
        return {"momentum_buffer": torch.zeros_like(param, memory_format=torch.preserve_format)}

    def update(self, params: list[Any], grads: list[Tensor], states: list[State], group: Group) -> None:
        hyper = {
            "lr": group["lr"],
            "momentum": group["momentum"],
            "dampening": group["dampening"],
            "weight_decay": group["weight_decay"],
            "nesterov": group["nesterov"],
            "maximize": group["maximize"],
        }
        if running_formulas():
            for i, (param, grad, state) in enumerate(zip(params, grads, states, strict=True)):
                new, momentum_buffer = sgd(param, grad, state.get("momentum_buffer"), **hyper)
                assign(params, i, new)
                if momentum_buffer is not None:
                    state["momentum_buffer"] = momentum_buffer
            return
        if not group["momentum"]:
            for mine, gradients in same_kind(params, grads):
                sgd_(mine, gradients, [], is_first_step=False, **hyper)
            return
        for mine, gradients, memories in same_kind(params, grads, states):
            for first in (False, True):  # a parameter that was frozen until now has no buffer yet
                some = [i for i, memory in enumerate(memories) if (memory.get("momentum_buffer") is None) == first]
                if not some:
                    continue
                if first:
                    for i in some:
                        memories[i]["momentum_buffer"] = torch.empty_like(mine[i])
                buffers = [memories[i]["momentum_buffer"] for i in some]
                sgd_([mine[i] for i in some], [gradients[i] for i in some], buffers, is_first_step=first, **hyper)

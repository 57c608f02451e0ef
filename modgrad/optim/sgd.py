"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from modgrad.functional.kernel import running_formulas
from modgrad.graph.mode import mode
from modgrad.optim.optimizer import Group, State, active, assign, same_kind
from modgrad.optim.rule import RuleOptimizer, descent, given, in_order, lay, scalar


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
    begun: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """The new parameter and momentum buffer:

    g = grad + weight_decay p          (-grad to maximize)
    b = momentum b + (1 - dampening) g (the first time b = g)
    p = p - lr b                       (nesterov: p - lr (g + momentum b); without momentum: p - lr g)

    Sutskever et al. 2013. All of one shape.
    momentum_buffer: None the first time. begun: for a program, which has a buffer from the start: 0 the first time.
    """
    grad = descent(param, grad, weight_decay, maximize)
    if active(momentum):
        if momentum_buffer is None:
            momentum_buffer = grad
        else:
            moved = momentum * momentum_buffer + ((1 - dampening) * grad if active(dampening) else grad)
            momentum_buffer = moved if begun is None else torch.where(begun > 0, moved, grad)
        grad = grad + momentum * momentum_buffer if nesterov else momentum_buffer
    return param - lr * grad, momentum_buffer


def sgd_(params: list[Tensor], grads: list[Tensor], momentum_buffers: list[Tensor], **hyper: Any) -> None:
    """`sgd` in place on tensors of one device and dtype, by ATen's fused kernel.

    momentum_buffers: empty without momentum; else one for each, and `is_first_step` among `hyper` says whether they
    are to be filled rather than read.
    """
    if isinstance(hyper["lr"], Tensor):
        hyper["lr"] = hyper["lr"].float()
    torch._fused_sgd_(params, grads, momentum_buffers, **hyper)
    torch._C._increment_version(params)  # which the kernel leaves out, and a change could not be told


_TOLD = ("lr", "momentum", "dampening", "weight_decay", "nesterov", "maximize")


class SGD(RuleOptimizer):
    """p = p - lr grad, with momentum (Polyak's or Nesterov's), dampening, weight decay. See `sgd` for the formula.

    foreach, fused: kept for PyTorch, to which a state_dict may go; the fastest update runs whatever they say.
    """

    rule, rule_ = staticmethod(sgd), staticmethod(sgd_)
    counted = False
    scalars = ("begun",)
    optional: ClassVar = {"momentum_buffer": "momentum"}
    nonnegative = ("lr", "momentum", "weight_decay")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(params, **given(locals()))

    def _refuse(self, hyper: Mapping[str, Any]) -> None:
        super()._refuse(hyper)
        if hyper["nesterov"] and (hyper["momentum"] <= 0 or hyper["dampening"] != 0):
            raise ValueError("SGD(nesterov=True) needs a momentum above 0 and a dampening of 0")

    def hyper(self, group: Group) -> dict[str, Any]:
        return {name: group[name] for name in _TOLD}

    def initial(self, param: Tensor, group: Group) -> State:
        state = super().initial(param, group)
        # A buffer is filled with the first gradient undampened: no beginning would give the same.
        return {**state, "begun": scalar(param)} if state and active(group["dampening"]) else state

    def _saved(self, state: State) -> State:
        """In PyTorch's format, which has no buffer until the first step, and so nothing to tell it by."""
        begun = state.get("begun")
        if begun is not None and not begun:
            return {}
        return {name: value for name, value in state.items() if name != "begun"}

    def update(self, params: list[Any], grads: list[Tensor], states: list[State], group: Group) -> None:
        if running_formulas():
            self._by_formula(params, grads, states, group)
            return
        hyper = self.told(group).hyper
        buffers = _buffers(states) if hyper["momentum"] else []
        if not in_order(params, grads, buffers):
            if not lay(params, grads, states):
                self._by_formula(params, grads, states, group)
                return
            buffers = _buffers(states) if hyper["momentum"] else []
        if not hyper["momentum"]:
            for mine, gradients in same_kind(params, grads):
                sgd_(mine, gradients, [], is_first_step=False, **hyper)
        elif len(buffers) == len(states) and not any(["begun" in state for state in states]):  # noqa: C419 (faster)
            for mine, gradients, own in same_kind(params, grads, buffers):
                sgd_(mine, gradients, own, is_first_step=False, **hyper)
        else:
            for mine, gradients, memories in same_kind(params, grads, states):
                self._begin_some(mine, gradients, memories, hyper)

    def _begin_some(
        self, params: list[Any], grads: list[Tensor], states: list[State], hyper: Mapping[str, Any]
    ) -> None:
        """Update where some buffers are still to be filled: a parameter that was frozen until now has none yet."""
        at_its_first = list(map(_at_its_first, states))
        for first in (False, True):
            some = [i for i, begins in enumerate(at_its_first) if begins == first]
            if not some:
                continue
            if first:
                for i in some:
                    states[i]["momentum_buffer"] = torch.empty_like(params[i])
            buffers = [states[i]["momentum_buffer"] for i in some]
            sgd_([params[i] for i in some], [grads[i] for i in some], buffers, is_first_step=first, **hyper)

    def _by_formula(self, params: list[Any], grads: list[Tensor], states: list[State], group: Group) -> None:
        hyper = self.hyper(group)
        for i, (param, grad, state) in enumerate(zip(params, grads, states, strict=True)):
            old, begun = state.get("momentum_buffer"), state.get("begun")
            new, buffer = sgd(param, grad, old, begun=begun, **hyper)
            if buffer is not None:
                if mode.tracing:
                    state["momentum_buffer"] = buffer.to(param.dtype)
                else:  # which may be the gradient itself
                    state["momentum_buffer"] = buffer.clone() if old is None else old.copy_(buffer)
                if begun is not None:
                    state["begun"] = torch.ones_like(begun)
            assign(params, i, new.to(param.dtype))


def _buffers(states: list[State]) -> list[Tensor]:
    """Those that there are."""
    return [buffer for state in states if (buffer := state.get("momentum_buffer")) is not None]


def _at_its_first(memory: State) -> bool:
    """Whether the buffer is still to be filled. `begun`, which a program needs, has done its service after this."""
    begun = memory.pop("begun", None)
    return memory.get("momentum_buffer") is None or (begun is not None and not begun)

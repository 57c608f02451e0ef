"""Optimizer: the base class. It picks what is to be updated; a subclass says how."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from modgrad.graph import Parameter
from modgrad.graph.errors import describe
from modgrad.graph.mode import mode

Group = dict[str, Any]
State = dict[str, Any]
_ACCELERATED = torch.accelerator.is_available()
_plainly = torch._C.DisableTorchFunctionSubclass


class Optimizer:
    """Updates parameters whose grad_f is True and whose grad_v is not None.

    A subclass gives its hyper-parameters to this constructor and writes `update`:

    >>> from modgrad import nn, optim
    >>> class Descent(optim.Optimizer):
    ...     def __init__(self, params, lr=0.1):
    ...         super().__init__(params, lr=lr)
    ...
    ...     def update(self, params, grads, states, group):
    ...         for param, grad in zip(params, grads):
    ...             param -= group["lr"] * grad
    >>> weight = nn.Parameter([1.0])
    >>> (3 * weight).sum().backward()
    >>> Descent([weight]).step()
    >>> weight
    Parameter(tensor([0.7000]))

    params: parameters, or dicts {"params": parameters, "lr": ...} whose entries override the hyper-parameters.
    defaults, others: the hyper-parameters, as a dict or by name.
    """

    def __init__(self, params: Iterable[Any], defaults: Mapping[str, Any] | None = None, **others: Any) -> None:
        self.defaults: dict[str, Any] = {**(defaults or {}), **others}
        self.state: dict[Parameter, State] = defaultdict(dict)
        self.param_groups: list[Group] = []
        if isinstance(params, Tensor):
            raise TypeError(f"{type(self).__name__}: params must be several, got {describe(params)}: write [parameter]")
        groups = list(params)
        if not groups:
            raise ValueError(f"{type(self).__name__} was given no parameters: write model.parameters()")
        for group in groups if isinstance(groups[0], Mapping) else [{"params": groups}]:
            self.add_param_group(group)

    @property
    def others(self) -> dict[str, Any]:
        """The hyper-parameters that a group has unless it says otherwise."""
        return self.defaults

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Add {"params": parameters} with hyper-parameters of its own."""
        params = group["params"]
        params = [params] if isinstance(params, Tensor) else list(params)
        known = {id(p) for g in self.param_groups for p in g["params"]}
        for parameter in params:
            if not isinstance(parameter, Parameter):
                raise TypeError(f"{type(self).__name__} updates nn.Parameter, got {describe(parameter)}")
            if id(parameter) in known:
                raise ValueError(f"{type(self).__name__}: a parameter appears twice, and would be updated twice a step")
            known.add(id(parameter))
        self._refuse({**self.defaults, **group})
        self.param_groups.append({**self.defaults, **group, "params": params})

    def _refuse(self, hyper: Mapping[str, Any]) -> None:
        """Raise where a hyper-parameter is outside of its range. For subclasses."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients; or, if not `set_to_none`, fill them with zeros."""
        with _plainly():
            for group in self.param_groups:
                for parameter in group["params"]:
                    if set_to_none:
                        parameter.grad = None
                    elif parameter.grad is not None:
                        parameter.grad = torch.zeros_like(parameter.grad)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update once. closure: computes the loss and the gradients anew, and its loss is returned."""
        loss = None if closure is None else closure()
        with _plainly():
            for group in self.param_groups:
                params, grads, states = [], [], []
                for parameter in group["params"]:
                    grad = parameter.grad
                    if grad is not None and parameter.grad_f:
                        params.append(parameter)
                        grads.append(grad)
                        states.append(self.state[parameter])
                if params:
                    self.update(params, grads, states, group)
        return loss

    def update(self, params: list[Any], grads: list[Tensor], states: list[State], group: Group) -> None:
        """Change `params` in place. They act as plain tensors here. states: a dict for each, to keep what is needed."""
        raise RuntimeError(
            f"{type(self).__name__} does not say how to update: write def update(self, params, grads, states, group)"
        )

    def initial(self, param: Tensor, group: Group) -> State:
        """A parameter's state before its first update, in which that update changes nothing but the values.

        Whoever must know the state beforehand asks for it, as a traced program does; an optimizer that keeps state and
        leaves this out can be traced once it has taken a step.
        """
        return {}

    def initials(self, params: list[Any], group: Group) -> list[State]:
        """`initial` of several parameters, which begin together."""
        return [self.initial(param, group) for param in params]

    def in_parts(self) -> AbstractContextManager[None]:
        """Inside, several calls of `update`, each with some of the parameters, are one step."""
        return nullcontext()

    def state_dict(self) -> dict[str, Any]:
        """{"state": {number: state}, "param_groups": [...]}, parameters named by number, in PyTorch's format."""
        number = {id(p): i for i, p in enumerate(self._parameters())}
        groups = [
            {**{k: v for k, v in group.items() if k != "params"}, "params": [number[id(p)] for p in group["params"]]}
            for group in self.param_groups
        ]
        state: dict[int, State] = {}
        seen: set[int] = set()
        for parameter, own in self.state.items():
            if own:  # what parameters share here must not be shared by whoever takes it over
                state[number[id(parameter)]] = {k: v.clone() if id(v) in seen else v for k, v in own.items()}
                seen.update(id(v) for v in own.values() if isinstance(v, Tensor))
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over states and hyper-parameters. Everything is checked before anything is changed."""
        saved = state_dict["param_groups"]
        sizes = [len(group["params"]) for group in self.param_groups]
        if [len(group["params"]) for group in saved] != sizes:
            raise ValueError(
                f"load_state_dict of {type(self).__name__}: its groups have {sizes} parameters, "
                f"the saved ones {[len(group['params']) for group in saved]}"
            )
        for group in saved:
            self._refuse({**self.defaults, **group})
        numbers = chain.from_iterable(group["params"] for group in saved)
        states: dict[Parameter, State] = defaultdict(dict)
        for number, parameter in zip(numbers, self._parameters(), strict=True):
            if number in state_dict["state"]:
                states[parameter] = _fitted(state_dict["state"][number], parameter)
        self.state = states
        for group, given in zip(self.param_groups, saved, strict=True):
            group.update({k: v for k, v in given.items() if k != "params"})

    def _parameters(self) -> Iterator[Parameter]:
        return chain.from_iterable(group["params"] for group in self.param_groups)

    def __repr__(self) -> str:
        groups = [{k: v for k, v in group.items() if k != "params"} for group in self.param_groups]
        return f"{type(self).__name__}({', '.join(map(str, groups))})"


def _fitted(state: Mapping[str, Any], parameter: Parameter) -> State:
    """A copy of a parameter's saved state, on its device and in its dtype. Step counts stay as they are."""
    fitted: State = {}
    with _plainly():
        for name, value in state.items():
            if isinstance(value, Tensor):
                like_parameter = name != "step" and value.is_floating_point()
                fitted[name] = (
                    value.to(parameter.device, parameter.dtype, copy=True) if like_parameter else value.clone()
                )
            else:
                fitted[name] = value
    return fitted


def active(hyper: Any) -> bool:
    """Whether a hyper-parameter has an effect. One that is an input of a traced program is a tensor, and has."""
    return isinstance(hyper, Tensor) or bool(hyper)


def assign(params: list[Any], position: int, value: Tensor) -> None:
    """Give a parameter its new value: in place, but for a traced program, in which nothing changes in place."""
    if mode.tracing:
        params[position] = value
    else:
        params[position].copy_(value)


def same_kind(params: list[Tensor], *alongside: list[Any]) -> Iterable[tuple[list[Any], ...]]:
    """The parameters of each device and dtype, with what belongs to them: a fused kernel takes one kind at a time."""
    if not _ACCELERATED:  # on the CPU the fused kernels go from tensor to tensor, and take all kinds together
        return ((params, *alongside),)
    kinds: dict[tuple[torch.device, torch.dtype], tuple[list[Any], ...]] = {}
    for row in zip(params, *alongside, strict=True):
        columns = kinds.setdefault((row[0].device, row[0].dtype), tuple([] for _ in row))
        for column, value in zip(columns, row, strict=True):
            column.append(value)
    return kinds.values()

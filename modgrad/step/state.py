"""What a training step reads and changes, by name, each where its owner keeps it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from modgrad.graph import Module, Parameter
from modgrad.optim import Optimizer
from modgrad.optim.optimizer import NOTES

_plainly = torch._C.DisableTorchFunctionSubclass

# The kinds of state, in the order that a program takes them.
PARAMETERS, BUFFERS, OPTIMIZER, GRADIENTS = "parameters", "buffers", "optimizer", "gradients"
SCHEDULE, RANDOMNESS, COUNT = "schedule", "randomness", "count"
State = dict[str, dict[str, Tensor]]


class Place(NamedTuple):
    """Where a tensor of the state is kept: owner[key]."""

    kind: str
    name: str
    owner: Any
    key: Any

    def get(self) -> Tensor:
        tensor: Tensor = self.owner[self.key]
        return tensor


class Hyper(NamedTuple):
    """A number among an optimizer's hyper-parameters: group[name], or group[name][position]."""

    label: str
    group: int
    name: str
    position: int | None

    def get(self, groups: Sequence[dict[str, Any]]) -> float:
        value = groups[self.group][self.name]
        return float(value if self.position is None else value[self.position])


def named_parameters(model: Module, criterion: Module) -> dict[str, Parameter]:
    """The model's parameters by their own names, then those of the criterion, each once, however often it is tied."""
    return _merged(model.named_parameters(), criterion.named_parameters())


def named_buffers(model: Module, criterion: Module) -> dict[str, Tensor]:
    return _merged(model.named_buffers(), criterion.named_buffers())


def _merged(own: Iterable[tuple[str, Any]], criterions: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    named = dict(own)
    known = {id(value) for value in named.values()}
    named.update({f"criterion.{name}": value for name, value in criterions if id(value) not in known})
    return named


def places(model: Module, criterion: Module, optimizer: Optimizer, parameters: dict[str, Parameter]) -> list[Place]:
    """Where the tensors of model, criterion and optimizer are kept."""
    found = []
    held = holders(model, criterion)
    for name, parameter in parameters.items():
        found.append(Place(PARAMETERS, name, *held[id(parameter)][0]))
    for name, buffer in named_buffers(model, criterion).items():
        found.append(Place(BUFFERS, name, *held[id(buffer)][0]))
    seen: set[int] = set()
    for name, parameter in updated(optimizer, parameters):
        state = optimizer.state[parameter]
        for key, value in state.items():
            if isinstance(value, Tensor) and id(value) not in seen:  # parameters may share a count of steps
                seen.add(id(value))
                found.append(Place(OPTIMIZER, f"{name}.{key}", state, key))
    return found


def complete(optimizer: Optimizer, parameters: dict[str, Parameter]) -> None:
    """Make the optimizer's state of every parameter that it has not updated yet."""
    known = {id(p) for p in parameters.values()}
    with _plainly():
        for group in optimizer.param_groups:
            new = [p for p in group["params"] if p.grad_f and id(p) in known and not optimizer.state[p]]
            for parameter, state in zip(new, optimizer.initials(new, group), strict=True):
                optimizer.state[parameter].update(state)


def updated(optimizer: Optimizer, parameters: dict[str, Parameter]) -> Iterator[tuple[str, Parameter]]:
    """The parameters that the optimizer updates, with their names."""
    known = {id(p) for group in optimizer.param_groups for p in group["params"]}
    return ((name, p) for name, p in parameters.items() if p.grad_f and id(p) in known)


def hypers(optimizer: Optimizer) -> list[Hyper]:
    """The hyper-parameters that are inputs of a program: lr, and every other number that is not zero.

    Zero is left out as it leaves its whole term out, as a weight decay of 0 does. A learning rate of 0 does not, and
    schedules begin and end there. What schedulers note down in a group for themselves is no input, nor is what a
    program is made for, as a number of iterations within.
    """
    found = []
    several = len(optimizer.param_groups) > 1
    for number, group in enumerate(optimizer.param_groups):
        prefix = f"{number}." if several else ""
        for name, value in group.items():
            if name in NOTES or name in optimizer.structural:
                continue
            if _is_number(value) or (name == "lr" and value == 0):
                found.append(Hyper(f"{prefix}{name}", number, name, None))
            elif isinstance(value, (tuple, list)):
                found += [
                    Hyper(f"{prefix}{name}.{i}", number, name, i) for i, each in enumerate(value) if _is_number(each)
                ]
    return found


def _is_number(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.numel() == 1
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value != 0


def holders(model: Module, criterion: Module) -> dict[int, list[tuple[dict[str, Any], str]]]:
    """For each parameter and buffer, by identity: the dicts that hold it, and its name there. Tied, it has several."""
    held: dict[int, list[tuple[dict[str, Any], str]]] = {}
    for module in dict.fromkeys([*model.modules(), *criterion.modules()]):
        own = module.__dict__
        for name in (*module._parameter_names, *module._buffer_names):
            if own[name] is not None:
                held.setdefault(id(own[name]), []).append((own, name))
    return held

"""What a compiled step is bound to: the tensors that it changes, and all that its program takes for granted."""

from __future__ import annotations

from operator import is_
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from modgrad.graph import Module
from modgrad.graph.autocast import torch_casts
from modgrad.graph.mode import mode
from modgrad.optim.optimizer import NOTES
from modgrad.step import state as states
from modgrad.step.program import PureStep
from modgrad.step.state import GRADIENTS, SCHEDULE, State

if TYPE_CHECKING:
    from modgrad.step.training import TrainingStep

_plainly = torch._C.DisableTorchFunctionSubclass


class Binding:
    """The state of a step as a flat list of tensors that a program changes in place, and whether it still holds.

    It no longer holds when a parameter, buffer or optimizer's state has been replaced or converted, a module replaced,
    an attribute of a module changed, as by train(), eval() or a new p of Dropout, or a tensor that is one, something
    frozen, or a flag of the optimizer changed; or inside another `autocast`. The optimizer's numbers may change freely,
    unless one becomes 0 or was.
    """

    def __init__(self, step: TrainingStep) -> None:
        self.step = step
        state = step.state
        self.gradients: dict[str, Tensor] = state.get(GRADIENTS, {})
        self.idle: frozenset[str] | None = None  # parameters that no gradient reaches, once a program has been found
        state.pop(states.COUNT, None)  # a compiled step counts by itself
        self.numbers = list(state.pop(SCHEDULE).values())
        self.leaves, self.structure = pytree.tree_flatten(state)
        self.programs: dict[Any, Any] = {}  # by batch
        self.constants: list[tuple[Tensor, int]] = []  # tensors whose values the programs hold, and their versions
        self.seen: set[Any] = set()  # kinds of batches, whatever their size
        self.autocast = _autocast(step)
        # The optimizer's numbers, and all else in its groups.
        self._groups = step.optimizer.param_groups
        self._hypers = states.hypers(step.optimizer)
        self._labels = [hyper.label for hyper in self._hypers]
        self._current = self._current_numbers()
        self._numbers_in_tensors = True
        self._values = self._group_values()
        self._numbers_in_tensors = self._any_in_tensors()
        # The tensors: by identity, and by where their memory is, which `model.to(dtype)` changes.
        parameters = step.parameters()
        self.parameters = dict(states.updated(step.optimizer, parameters))
        memories = step.optimizer.state.values()
        places = [(own, key) for own in memories for key, value in own.items() if isinstance(value, Tensor)]
        for holders in states.holders(step.model, step.criterion).values():
            places += holders
        self._places = places
        self._tensors = [owner[key] for owner, key in places]
        self._addresses = self._current_addresses()
        self._trainable = [p.__dict__ for p in parameters.values()]
        self._are_trainable = [p.grad_f for p in parameters.values()]
        self._memories = list(memories)
        # All attributes of the modules.
        modules = dict.fromkeys([*step.model.modules(), *step.criterion.modules()])
        self._attributes = [module.__dict__ for module in modules]
        self._before = [_copied(own) for own in self._attributes]

    def holds(self) -> bool:
        """Whether all is as it was. Brings the numbers, and the sums of gradients, up to date."""
        if self.autocast != _autocast(self.step) or (self._group_values() != self._values and not self._follow()):
            return False
        memories = self.step.optimizer.state.values()
        if len(memories) != len(self._memories) or not all(map(is_, memories, self._memories)):
            return False
        if not all(map(is_, [owner.get(key) for owner, key in self._places], self._tensors)):
            return False
        if self._current_addresses() != self._addresses or not self._same_attributes():
            return False
        if [own["grad_f"] for own in self._trainable] != self._are_trainable or not self._same_constants():
            return False
        if self.gradients:
            self._take_over_sums()
        return True

    def _same_constants(self) -> bool:
        return all(tensor._version == version for tensor, version in self.constants)

    def _current_addresses(self) -> list[int]:
        with _plainly():
            return [tensor.data_ptr() for tensor in self._tensors]

    def _same_attributes(self) -> bool:
        try:
            if self._attributes == self._before:  # which for each value asks first whether it is the very same
                return True
        except Exception:
            pass
        if not all(map(_same, self._attributes, self._before)):
            return False
        self._before = [_copied(own) for own in self._attributes]
        return True

    def _follow(self) -> bool:
        """Take over changed numbers. False if more than numbers changed, or one became zero or ceased to be."""
        if not self._only_numbers_changed():
            return False
        numbers = self._current_numbers()
        for tensor, new, old in zip(self.numbers, numbers, self._current, strict=True):
            if new != old:
                tensor.fill_(new)
        self._numbers_in_tensors = True
        self._current, self._values = numbers, self._group_values()
        self._numbers_in_tensors = self._any_in_tensors()
        return True

    def _any_in_tensors(self) -> bool:
        return any(isinstance(value, Tensor) for group in self._groups for value in group.values())

    def _only_numbers_changed(self) -> bool:
        if states.hypers(self.step.optimizer) != self._hypers or len(self._groups) != len(self._values):
            return False
        names = {(hyper.group, hyper.name) for hyper in self._hypers}
        for number, (group, values) in enumerate(zip(self._groups, self._group_values(), strict=True)):
            before = self._values[number]
            if len(values) != len(before):
                return False
            for name, value, old in zip(group, values, before, strict=True):
                if (number, name) not in names and name not in NOTES and value != old:
                    return False
        return True

    def _current_numbers(self) -> list[float]:
        return [hyper.get(self._groups) for hyper in self._hypers]

    def _group_values(self) -> list[tuple[Any, ...]]:
        if not self._numbers_in_tensors:
            return [tuple(group.values()) for group in self._groups]
        return [tuple(map(_value, group.values())) for group in self._groups]  # as they may change in place

    def schedule(self, steps: int) -> list[Tensor]:
        """The numbers of the next `steps` steps, stacked, as the scheduler goes on through them."""
        scheduler = self.step.scheduler
        if scheduler is None:
            return [number.repeat(steps) for number in self.numbers]
        rows: list[list[float]] = []
        for _ in range(steps):
            if rows and not self._only_numbers_changed():
                raise RuntimeError(
                    f"step {len(rows) + 1} of {steps}: the scheduler changed more in the optimizer than numbers, or "
                    "made one 0 (or one of 0 another) that is not lr, which needs a program of its own: compile with "
                    "steps=1, or schedule a number close to 0"
                )
            rows.append(self._current_numbers())
            scheduler.step()
        return list(torch.tensor(rows, dtype=torch.float64).t().contiguous())

    def _take_over_sums(self) -> None:
        """Put the gradients accumulated so far where the program has them: eager steps may have come between."""
        begun = self.step.accumulated > 0
        with _plainly():
            for name, parameter in self.parameters.items():
                here, there = self.gradients[name], parameter.grad
                if not begun or there is None:
                    here.zero_()
                elif there is not here:
                    here.copy_(there)

    def hand_over_sums(self) -> None:
        """Leave the gradients accumulated so far with the parameters; none after an update."""
        begun = self.step.accumulated > 0
        for name, parameter in self.parameters.items():
            parameter.grad_v = self.gradients[name] if begun and name not in (self.idle or ()) else None

    def pure(self, due: bool) -> Any:
        """The step as a pure function (leaves, numbers, batch) -> (leaves, loss)."""
        pure = PureStep(self.step, due)

        def run(leaves: list[Tensor], numbers: list[Tensor], batch: Any) -> tuple[list[Tensor], Tensor]:
            state: State = pytree.tree_unflatten(leaves, self.structure)
            new, loss = pure({**state, SCHEDULE: dict(zip(self._labels, numbers, strict=True))}, batch)
            del new[SCHEDULE]
            if self.gradients and self.idle not in (None, pure.idle):
                raise RuntimeError(
                    "gradients are accumulated over batches of different kinds, of which some train "
                    f"{', '.join(sorted(pure.idle ^ (self.idle or frozenset())))} and others do not: compiled, each "
                    "must train the same parameters. Write two steps, or accumulate=1"
                )
            self.idle = pure.idle
            return pytree.tree_leaves(new), loss

        return run

    def in_place(self, due: bool) -> Any:
        """The step as a function (leaves, numbers, batch) -> loss that changes the leaves in place."""
        pure = self.pure(due)

        def run(leaves: list[Tensor], numbers: list[Tensor], batch: Any) -> Tensor:
            new, loss = pure(leaves, numbers, batch)
            with torch._C.DisableTorchFunction():
                for old, value in zip(leaves, new, strict=True):
                    if value is not old:
                        old.copy_(value)
            return loss

        return run


def _autocast(step: TrainingStep) -> Any:
    """In which dtypes model and criterion run."""
    return step.autocast, None if mode.autocast is None else mode.autocast.dtypes, torch_casts()


def _value(number: Any) -> Any:
    return float(number) if isinstance(number, Tensor) and number.numel() == 1 else number


def _copied(own: dict[str, Any]) -> dict[str, Any]:
    """A module's attributes, and the names in what they hold by name, as they are now."""
    return {key: dict(value) if type(value) is dict else value for key, value in own.items()}


def _same(own: dict[str, Any], before: dict[str, Any]) -> bool:
    """Whether the attributes that a program may depend on are the same. Tensors are looked at elsewhere, or were
    left behind by a forward."""
    kinds = (bool, int, float, str, dict, tuple, type(None), torch.dtype, Module)
    names = {key for attributes in (own, before) for key, value in attributes.items() if isinstance(value, kinds)}
    try:
        return all(key in own and key in before and own[key] == before[key] for key in names)
    except RuntimeError:  # a tuple or dict with tensors in it
        return False

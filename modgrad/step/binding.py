"""What a compiled step is bound to: the tensors that it changes, and all that its program takes for granted."""

from __future__ import annotations

from operator import is_
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from modgrad.step import state as states
from modgrad.step.program import PureStep
from modgrad.step.state import GRADIENTS, SCHEDULE, State

if TYPE_CHECKING:
    from modgrad.step.training import TrainingStep

_plainly = torch._C.DisableTorchFunctionSubclass


class Binding:
    """The state of a step as a flat list of tensors that a program changes in place, and whether it still holds.

    It no longer holds when a parameter, buffer or optimizer's state has been replaced, when something was frozen or
    switched between training and evaluation, or when the optimizer's flags changed. Its numbers may change freely.
    """

    def __init__(self, step: TrainingStep) -> None:
        self.step = step
        state = step.state
        self.gradients: dict[str, Tensor] = state.get(GRADIENTS, {})
        state.pop(states.COUNT, None)  # a compiled step counts by itself
        self.numbers = list(state.pop(SCHEDULE).values())
        self.leaves, self.structure = pytree.tree_flatten(state)
        parameters = step.parameters()
        self._groups = step.optimizer.param_groups
        self._hypers = states.hypers(step.optimizer)
        self._labels = [hyper.label for hyper in self._hypers]
        self._current = self._current_numbers()
        self._values = self._group_values()
        places = step.places()
        self._owners = [(place.owner, place.key) for place in places]
        self._tensors = [place.get() for place in places]
        modules = dict.fromkeys([*step.model.modules(), *step.criterion.modules()])
        self._flagged = [(module.__dict__, "training") for module in modules]
        self._flagged += [(p.__dict__, "grad_f") for p in parameters.values()]
        self._flags = self._current_flags()
        self._optimizer_states = step.optimizer.state
        self.parameters = dict(states.updated(step.optimizer, parameters))
        self.programs: dict[Any, Any] = {}  # by batch
        self.seen: set[Any] = set()  # kinds of batches, whatever their size

    def holds(self) -> bool:
        """Whether all is as it was. Brings the schedule's numbers up to date."""
        if self._group_values() != self._values and not self._follow():
            return False
        return (
            all(map(is_, [owner[key] for owner, key in self._owners], self._tensors))
            and self._current_flags() == self._flags
            and self.step.optimizer.state is self._optimizer_states
        )

    def _follow(self) -> bool:
        """Take over changed numbers. False if more than numbers changed, or one became zero or ceased to be."""
        if states.hypers(self.step.optimizer) != self._hypers or len(self._groups) != len(self._values):
            return False
        before = dict.fromkeys(name for hyper in self._hypers for name in [hyper.name])
        for group, values in zip(self._groups, self._values, strict=True):
            for (name, value), old in zip(group.items(), values, strict=True):
                if name not in before and value != old:
                    return False
        numbers = self._current_numbers()
        for tensor, new, old in zip(self.numbers, numbers, self._current, strict=True):
            if new != old:
                tensor.fill_(new)
        self._current, self._values = numbers, self._group_values()
        return True

    def _current_numbers(self) -> list[float]:
        return [hyper.get(self._groups) for hyper in self._hypers]

    def _group_values(self) -> list[tuple[Any, ...]]:
        return [tuple(group.values()) for group in self._groups]

    def _current_flags(self) -> list[Any]:
        return [own[name] for own, name in self._flagged]

    def schedule(self, steps: int) -> list[Tensor]:
        """The numbers of the next `steps` steps, stacked, as the scheduler goes on through them."""
        scheduler = self.step.scheduler
        if scheduler is None:
            return [number.repeat(steps) for number in self.numbers]
        rows = []
        for _ in range(steps):
            rows.append(self._current_numbers())
            scheduler.step()
        return list(torch.tensor(rows, dtype=torch.float64).t().contiguous())

    def pure(self, due: bool) -> Any:
        """The step as a pure function (leaves, numbers, batch) -> (leaves, loss)."""
        pure = PureStep(self.step, due)

        def run(leaves: list[Tensor], numbers: list[Tensor], batch: Any) -> tuple[list[Tensor], Tensor]:
            state: State = pytree.tree_unflatten(leaves, self.structure)
            new, loss = pure({**state, SCHEDULE: dict(zip(self._labels, numbers, strict=True))}, batch)
            del new[SCHEDULE]
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

"""The twin of a step, which an export works on, so that nothing of the step changes."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from torch import Tensor

from modgrad.export.onnx.errors import ExportError
from modgrad.optim.lr_scheduler.scheduler import copied
from modgrad.optim.optimizer import NOTES

if TYPE_CHECKING:
    from modgrad.step.training import TrainingStep

AHEAD = 1000  # steps that a schedule is run ahead


def duplicate(step: TrainingStep) -> TrainingStep:
    """A step of its own that has come as far."""
    program, step.program = step.program, None
    try:
        return copy.deepcopy(step)
    finally:
        step.program = program


def unscheduled(step: TrainingStep) -> TrainingStep:
    """A duplicate without a schedule: the learning rate is the client's to give.

    Raises ExportError for a schedule that changes other numbers too, as OneCycleLR does with momentum: in what is
    exported these are constants.
    """
    twin = duplicate(step)
    if twin.scheduler is not None:
        _refuse_constants(twin.scheduler, [*twin.optimizer.param_groups, *step.optimizer.param_groups])
    twin.scheduler = None
    return twin


def _refuse_constants(scheduler: Any, groups: list[dict[str, Any]]) -> None:
    """groups: of the optimizer. They are as before afterwards."""
    kept = [(group, name, x, copied(x)) for group in groups for name, x in group.items() if name != "params"]
    before = [_constants(group) for group in groups]
    changed: dict[str, Any] = {}
    for each in _parts(scheduler):
        for _ in range(AHEAD):
            try:
                each.step()
            except Exception:  # it has ended
                break
            for group, old in zip(groups, before, strict=True):
                changed |= {name: old.get(name) for name, value in _constants(group).items() if value != old.get(name)}
    for group, name, value, old in kept:
        group[name] = value.copy_(old) if isinstance(value, Tensor) else value
    if changed:
        names, values = " and ".join(changed), ", ".join(f"{name}={value}" for name, value in changed.items())
        raise ExportError(
            f"{type(scheduler).__name__} changes {names} as well as the learning rate, which is the only number that "
            f"an exported step is given: all others are constants in it. Keep {names} out of the schedule "
            "(cycle_momentum=False in OneCycleLR and CyclicLR), or set step.scheduler = None before the export, to "
            f"train with {values} throughout"
        )


def _parts(scheduler: Any) -> Iterator[Any]:
    """The schedule, and each that it is composed of, whose turn may come late."""
    yield scheduler
    for each in getattr(scheduler, "_schedulers", ()):
        yield from _parts(each)


def _constants(group: dict[str, Any]) -> dict[str, Any]:
    """The numbers of a group that are no input of an exported step."""
    numbers = {name: value for name, value in group.items() if name != "lr" and name not in NOTES}
    return {name: value.tolist() if isinstance(value, Tensor) else value for name, value in numbers.items()}

"""Schedules of schedules."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from modgrad.graph.errors import describe
from modgrad.optim.lr_scheduler.plateau import ReduceLROnPlateau
from modgrad.optim.lr_scheduler.scheduler import LRScheduler, of_groups, put


class _Composed(LRScheduler):
    """Several schedules of one optimizer. A state_dict has those of all."""

    _schedulers: list[Any]

    def _take(self, schedulers: Sequence[Any], optimizer: Any) -> None:
        kind = type(self).__name__
        if not schedulers:
            raise ValueError(f"{kind} was given no schedulers")
        for number, scheduler in enumerate(schedulers):
            if not hasattr(scheduler, "optimizer"):
                raise TypeError(f"{kind}: scheduler {number} is {describe(scheduler)}, expected one with an optimizer")
            if isinstance(scheduler, ReduceLROnPlateau):
                raise ValueError(
                    f"{kind}: scheduler {number} is ReduceLROnPlateau, whose step needs a number that the others' does "
                    "not: call it by itself"
                )
            if scheduler.optimizer is not optimizer:
                raise ValueError(f"{kind}: scheduler {number} ({type(scheduler).__name__}) is another optimizer's")
        self._schedulers, self.optimizer = list(schedulers), optimizer

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "_schedulers": [scheduler.state_dict() for scheduler in self._schedulers]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        super().load_state_dict({name: value for name, value in state_dict.items() if name != "_schedulers"})
        for scheduler, state in zip(self._schedulers, state_dict["_schedulers"], strict=True):
            scheduler.load_state_dict(state)


class ChainedScheduler(_Composed):
    """All `schedulers` at each step, one after the other, each going on from the rate that the one before it set."""

    def __init__(self, schedulers: Sequence[Any], optimizer: Any = None) -> None:
        self._take(schedulers, optimizer or (schedulers[0].optimizer if schedulers else None))
        self._last_lr = of_groups(self.optimizer, "lr")

    def step(self, epoch: int | None = None) -> None:
        """One step of each."""
        for scheduler in self._schedulers:
            scheduler.step()
        self._last_lr = of_groups(self.optimizer, "lr")


class SequentialLR(_Composed):
    """One of `schedulers` after the other: the next one begins at each of the epochs `milestones`."""

    def __init__(self, optimizer: Any, schedulers: list[Any], milestones: list[int], last_epoch: int = -1) -> None:
        self._take(schedulers, optimizer)
        if len(milestones) != len(schedulers) - 1:
            raise ValueError(
                f"SequentialLR: {len(schedulers)} schedulers change {len(schedulers) - 1} times, and there are "
                f"{len(milestones)} milestones"
            )
        self._milestones, self.last_epoch = milestones, last_epoch + 1
        for group in optimizer.param_groups:
            put(group, "lr", group["initial_lr"])
        _take_back(self)  # the step that each took when it was made
        first = schedulers[bisect_right(milestones, 0)]
        first._initial_step()
        self._last_lr = first.get_last_lr()

    def step(self, epoch: int | None = None) -> None:
        """One step of the one whose turn it is."""
        self.last_epoch += 1
        turn = bisect_right(self._milestones, self.last_epoch)
        scheduler = self._schedulers[turn]
        if turn > 0 and self._milestones[turn - 1] == self.last_epoch:
            scheduler._update_lr(0)
        else:
            scheduler.step()
        self._last_lr = scheduler.get_last_lr()


def _take_back(scheduler: Any) -> None:
    if isinstance(scheduler, _Composed):
        for each in scheduler._schedulers:
            _take_back(each)
    else:
        scheduler.last_epoch -= 1

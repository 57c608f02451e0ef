"""LRScheduler: the base class of schedules."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from modgrad.graph.errors import describe

Rate = Any  # a number, or a tensor of one


class LRScheduler:
    """Sets `lr` of each of an optimizer's groups, anew at each `step()`.

    A subclass says what follows on the rate of one group, or overrides `get_lr`:

    >>> from modgrad import nn, optim
    >>> class Halving(optim.lr_scheduler.LRScheduler):
    ...     def following(self, lr, base_lr):
    ...         return lr if self.last_epoch == 0 else lr / 2
    >>> optimizer = optim.SGD([nn.Parameter([1.0])], lr=0.4)
    >>> schedule = Halving(optimizer)
    >>> schedule.step()
    >>> schedule.get_last_lr()
    [0.2]

    optimizer: anything with `param_groups`. last_epoch: the number of the step that the optimizer, whose groups have an
    "initial_lr" then, has come to; -1 for a new one.
    """

    closed_form: Callable[[Rate], Rate] | None = None  # the rate at last_epoch, from the first one, where there is one
    _is_initial = False

    def __init__(self, optimizer: Any, last_epoch: int = -1) -> None:
        self.optimizer = refuse_others(type(self).__name__, optimizer)
        for number, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", copied(group["lr"]))
            elif "initial_lr" not in group:
                raise KeyError(
                    f"{type(self).__name__}(last_epoch={last_epoch}): group {number} of the optimizer has no "
                    "'initial_lr', which a schedule that is resumed goes by: load the optimizer's state_dict first"
                )
        self.base_lrs = of_groups(optimizer, "initial_lr")
        self.last_epoch = last_epoch
        self._initial_step()

    def following(self, lr: Rate, base_lr: Rate) -> Rate:
        """The rate of a group at `last_epoch`, from the rate that it has now and the one that it began with."""
        raise RuntimeError(f"{type(self).__name__} does not say how lr goes on: write def following(self, lr, base_lr)")

    def get_lr(self) -> list[Rate]:
        """The rates at `last_epoch`, one for each group. Asked by `step`; see `get_last_lr` for those that hold."""
        lrs = (group["lr"] for group in self.optimizer.param_groups)
        return [self.following(lr, base_lr) for lr, base_lr in zip(lrs, self.base_lrs, strict=True)]

    def get_last_lr(self) -> list[Rate]:
        """The rates that were set last, one for each group."""
        return self._last_lr

    def step(self, epoch: int | None = None) -> None:
        """Go on to the next epoch; or to `epoch`, by the closed form where there is one."""
        self._step_count += 1
        self._update_lr(epoch)

    def _initial_step(self) -> None:
        self._step_count = 0
        self._is_initial = True
        self.step()
        self._is_initial = False

    def _update_lr(self, epoch: int | None = None) -> None:
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        form = self.closed_form
        self._set(self.get_lr() if epoch is None or form is None else [form(base_lr) for base_lr in self.base_lrs])

    def _set(self, lrs: list[Rate]) -> None:
        for group, lr in zip(self.optimizer.param_groups, lrs, strict=True):
            put(group, "lr", lr)
        self._last_lr = of_groups(self.optimizer, "lr")

    def state_dict(self) -> dict[str, Any]:
        """All that it knows but the optimizer, in PyTorch's format."""
        return {name: value for name, value in self.__dict__.items() if name != "optimizer"}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave. Load the optimizer's too, which has the rates themselves."""
        self.__dict__.update(state_dict)


def refuse_others(kind: str, optimizer: Any) -> Any:
    """The optimizer; raises for what is none."""
    if not isinstance(getattr(optimizer, "param_groups", None), list):
        raise TypeError(f"{kind}: optimizer is {describe(optimizer)}, expected one with param_groups")
    return optimizer


def copied(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


def of_groups(optimizer: Any, name: str) -> list[Any]:
    """A number of each group."""
    return [copied(group[name]) for group in optimizer.param_groups]


def put(group: dict[str, Any], name: str, value: Any) -> None:
    """Give a group a number; into the tensor, where it has one."""
    if isinstance(group[name], Tensor):
        group[name].fill_(float(value))
    else:
        group[name] = value


def for_each(kind: str, name: str, optimizer: Any, given: Any) -> list[Any]:
    """An argument for each group: given as a list, or one for all."""
    groups = optimizer.param_groups
    if not isinstance(given, (list, tuple)):
        return [copied(given) for _ in groups]
    if len(given) != len(groups):
        raise ValueError(f"{kind}({name}={given!r}): expected one for all, or one for each of the {len(groups)} groups")
    return list(map(copied, given))


def saved_function(function: Any) -> dict[str, Any] | None:
    """What of a function can be saved: the attributes, if it is an object that is called."""
    if function is None or isinstance(function, types.FunctionType):
        return None
    return dict(function.__dict__)

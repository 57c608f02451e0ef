"""Rates that fall, step by step or by a function."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from modgrad.optim.lr_scheduler.scheduler import LRScheduler, Rate, copied, for_each, saved_function

Function = Callable[[int], float]


class StepLR(LRScheduler):
    """lr = gamma lr, every `step_size` epochs."""

    def __init__(self, optimizer: Any, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def following(self, lr: Rate, base_lr: Rate) -> Rate:
        return copied(lr) if self.last_epoch == 0 or self.last_epoch % self.step_size else lr * self.gamma

    def closed_form(self, base_lr: Rate) -> Rate:
        return base_lr * self.gamma ** (self.last_epoch // self.step_size)


class MultiStepLR(LRScheduler):
    """lr = gamma lr, at each of the epochs `milestones`."""

    def __init__(self, optimizer: Any, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1) -> None:
        self.milestones, self.gamma = Counter(milestones), gamma
        super().__init__(optimizer, last_epoch)

    def following(self, lr: Rate, base_lr: Rate) -> Rate:
        times = self.milestones.get(self.last_epoch, 0)
        return lr * self.gamma**times if times else copied(lr)

    def closed_form(self, base_lr: Rate) -> Rate:
        return base_lr * self.gamma ** bisect_right(sorted(self.milestones.elements()), self.last_epoch)


class ConstantLR(LRScheduler):
    """lr = factor base_lr for `total_iters` epochs, then base_lr."""

    def __init__(self, optimizer: Any, factor: float = 1.0 / 3, total_iters: int = 5, last_epoch: int = -1) -> None:
        if not 0 <= factor <= 1:
            raise ValueError(f"ConstantLR(factor={factor}): expected a number from 0 to 1")
        self.factor, self.total_iters = factor, total_iters
        super().__init__(optimizer, last_epoch)

    def following(self, lr: Rate, base_lr: Rate) -> Rate:
        if self.last_epoch == 0:
            return lr * self.factor
        return lr * (1.0 / self.factor) if self.last_epoch == self.total_iters else copied(lr)

    def closed_form(self, base_lr: Rate) -> Rate:
        return base_lr * (self.factor if self.last_epoch < self.total_iters else 1.0)


class LinearLR(LRScheduler):
    """lr = base_lr (start_factor + (end_factor - start_factor) t / total_iters) at epoch t, until total_iters."""

    def __init__(
        self,
        optimizer: Any,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 < start_factor <= 1:
            raise ValueError(f"LinearLR(start_factor={start_factor}): expected a number above 0, up to 1")
        if not 0 <= end_factor <= 1:
            raise ValueError(f"LinearLR(end_factor={end_factor}): expected a number from 0 to 1")
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, total_iters
        super().__init__(optimizer, last_epoch)

    def following(self, lr: Rate, base_lr: Rate) -> Rate:
        if self.last_epoch == 0:
            return lr * self.start_factor
        if self._is_initial or self.last_epoch > self.total_iters:
            return copied(lr)
        rise = self.end_factor - self.start_factor
        return lr * (1 + rise / (self.total_iters * self.start_factor + (self.last_epoch - 1) * rise))

    def closed_form(self, base_lr: Rate) -> Rate:
        share = min(self.total_iters, self.last_epoch) / self.total_iters
        return base_lr * (self.start_factor + (self.end_factor - self.start_factor) * share)


class ExponentialLR(LRScheduler):
    """lr = gamma lr, every epoch."""

    def __init__(self, optimizer: Any, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def following(self, lr: Rate, base_lr: Rate) -> Rate:
        return copied(lr) if self._is_initial else lr * self.gamma

    def closed_form(self, base_lr: Rate) -> Rate:
        return base_lr * self.gamma**self.last_epoch


class PolynomialLR(LRScheduler):
    """lr = base_lr (1 - t / total_iters)^power at epoch t, until total_iters."""

    def __init__(self, optimizer: Any, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1) -> None:
        self.total_iters, self.power = total_iters, power
        super().__init__(optimizer, last_epoch)

    def following(self, lr: Rate, base_lr: Rate) -> Rate:
        if self._is_initial or self.last_epoch > self.total_iters:
            return copied(lr)
        left, before = 1 - self.last_epoch / self.total_iters, 1 - (self.last_epoch - 1) / self.total_iters
        return lr * (left / before) ** self.power

    def closed_form(self, base_lr: Rate) -> Rate:
        return base_lr * (1 - min(self.total_iters, self.last_epoch) / self.total_iters) ** self.power


class _ByFunctions(LRScheduler):
    """One function of the epoch for each group. A state_dict has the attributes of those that are objects."""

    def __init__(self, optimizer: Any, lr_lambda: Function | list[Function], last_epoch: int = -1) -> None:
        self.lr_lambdas: list[Any] = for_each(type(self).__name__, "lr_lambda", optimizer, lr_lambda)
        if not all(map(callable, self.lr_lambdas)):
            raise TypeError(f"{type(self).__name__}(lr_lambda={lr_lambda!r}): expected functions of the epoch")
        super().__init__(optimizer, last_epoch)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "lr_lambdas": list(map(saved_function, self.lr_lambdas))}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        super().load_state_dict({name: value for name, value in state_dict.items() if name != "lr_lambdas"})
        for function, attributes in zip(self.lr_lambdas, state_dict["lr_lambdas"], strict=True):
            if attributes is not None:
                function.__dict__.update(attributes)


class LambdaLR(_ByFunctions):
    """lr = lr_lambda(t) base_lr at epoch t."""

    def get_lr(self) -> list[Rate]:
        return [base * function(self.last_epoch) for function, base in zip(self.lr_lambdas, self.base_lrs, strict=True)]


class MultiplicativeLR(_ByFunctions):
    """lr = lr_lambda(t) lr at epoch t."""

    def get_lr(self) -> list[Rate]:
        lrs = [group["lr"] for group in self.optimizer.param_groups]
        if self._is_initial:
            return list(map(copied, lrs))
        return [lr * function(self.last_epoch) for function, lr in zip(self.lr_lambdas, lrs, strict=True)]

"""A rate that falls when nothing gets better."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from modgrad.optim.lr_scheduler.scheduler import LRScheduler, for_each, of_groups, put, refuse_others


class ReduceLROnPlateau(LRScheduler):
    """lr = factor lr, down to min_lr, when `patience` epochs have gone by without a better number.

    mode: whether the number given to `step` is to become small ("min") or large ("max"). threshold: by how much it must
    be better to count: as a share of the best ("rel"), or by itself ("abs"). cooldown: epochs after a reduction,
    of which none counts as bad. eps: a change of lr that is not larger is not made.
    """

    def __init__(
        self,
        optimizer: Any,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: list[float] | float = 0,
        eps: float = 1e-8,
    ) -> None:
        self.optimizer = refuse_others("ReduceLROnPlateau", optimizer)
        if factor >= 1:
            raise ValueError(f"ReduceLROnPlateau(factor={factor}): expected a number below 1")
        if mode not in ("min", "max"):
            raise ValueError(f"ReduceLROnPlateau(mode={mode!r}): expected 'min' or 'max'")
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(f"ReduceLROnPlateau(threshold_mode={threshold_mode!r}): expected 'rel' or 'abs'")
        self.mode, self.factor, self.patience, self.cooldown, self.eps = mode, factor, patience, cooldown, eps
        self.threshold, self.threshold_mode = threshold, threshold_mode
        self.default_min_lr = None if isinstance(min_lr, (list, tuple)) else min_lr
        self.min_lrs = for_each("ReduceLROnPlateau", "min_lr", optimizer, min_lr)
        self.last_epoch = 0
        self.mode_worse = math.inf if mode == "min" else -math.inf
        self.best = self.mode_worse
        self.cooldown_counter = self.num_bad_epochs = 0
        self._last_lr = of_groups(optimizer, "lr")

    @property
    def in_cooldown(self) -> bool:
        return self.cooldown_counter > 0

    def step(self, metrics: Any, epoch: int | None = None) -> None:  # type: ignore[override]
        """Go on to the next epoch, or to `epoch`. metrics: the number that is to get better, as a validation loss."""
        current = float(metrics)
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        if self._is_better(current):
            self.best, self.num_bad_epochs = current, 0
        else:
            self.num_bad_epochs += 1
        if self.in_cooldown:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce()
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        self._last_lr = of_groups(self.optimizer, "lr")

    def _is_better(self, current: float) -> bool:
        if self.threshold_mode == "rel":
            if self.mode == "min":
                return current < self.best * (1 - self.threshold)
            return current > self.best * (1 + self.threshold)
        return current < self.best - self.threshold if self.mode == "min" else current > self.best + self.threshold

    def _reduce(self) -> None:
        groups = self.optimizer.param_groups
        if len(groups) != len(self.min_lrs):
            if self.default_min_lr is None:
                raise RuntimeError(
                    f"ReduceLROnPlateau: the optimizer has {len(groups)} groups by now, and min_lr is for "
                    f"{len(self.min_lrs)}: give it as one number, or set min_lrs"
                )
            self.min_lrs = [self.default_min_lr] * len(groups)
        for group, least in zip(groups, self.min_lrs, strict=True):
            old = float(group["lr"])
            new = max(old * self.factor, least)
            if old - new > self.eps:
                put(group, "lr", new)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.mode_worse = math.inf if self.mode == "min" else -math.inf

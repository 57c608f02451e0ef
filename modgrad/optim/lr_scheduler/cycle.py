"""Rates that rise and fall, and momenta that do the opposite."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from modgrad.optim.lr_scheduler.scheduler import LRScheduler, Rate, for_each, put, refuse_others, saved_function


def _uses_beta1(kind: str, optimizer: Any) -> bool:
    """Whether an optimizer's momentum is the first of its betas."""
    if "momentum" not in optimizer.defaults and "betas" not in optimizer.defaults:
        raise ValueError(
            f"{kind}(cycle_momentum=True): {type(optimizer).__name__} has neither momentum nor betas: write "
            "cycle_momentum=False"
        )
    return "betas" in optimizer.defaults


def _put_momentum(group: dict[str, Any], momentum: float, use_beta1: bool) -> None:
    if use_beta1:
        group["betas"] = (momentum, *group["betas"][1:])
    else:
        group["momentum"] = momentum


class CyclicLR(LRScheduler):
    """lr = base_lr + (max_lr - base_lr) h(t) s: h goes from 0 to 1 in step_size_up steps, and back in step_size_down.

    s = 1 ("triangular"), 1 / 2^(c - 1) in cycle c from 1 up ("triangular2"), gamma^t at step t ("exp_range"), or
    scale_fn(c), or of t with scale_mode="iterations". momentum = max_momentum - (max_momentum - base_momentum) h(t) s.
    Smith 2017, section 3.
    """

    def __init__(
        self,
        optimizer: Any,
        base_lr: float | list[float],
        max_lr: float | list[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.8,
        max_momentum: float | list[float] = 0.9,
        last_epoch: int = -1,
    ) -> None:
        groups = refuse_others("CyclicLR", optimizer).param_groups
        if scale_fn is None and mode not in ("triangular", "triangular2", "exp_range"):
            raise ValueError(
                f"CyclicLR(mode={mode!r}): expected 'triangular', 'triangular2', 'exp_range', or a scale_fn"
            )
        base_lrs = for_each("CyclicLR", "base_lr", optimizer, base_lr)
        self.max_lrs = for_each("CyclicLR", "max_lr", optimizer, max_lr)
        up = float(step_size_up)
        self.total_size = up + (up if step_size_down is None else float(step_size_down))
        self.step_ratio = up / self.total_size
        self.mode, self.gamma, self.scale_mode = mode, gamma, scale_mode
        self._scale_fn_custom = scale_fn
        if scale_fn is None:
            self.scale_mode = "iterations" if mode == "exp_range" else "cycle"
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self.use_beta1 = _uses_beta1("CyclicLR", optimizer)
            self.base_momentums = for_each("CyclicLR", "base_momentum", optimizer, base_momentum)
            self.max_momentums = for_each("CyclicLR", "max_momentum", optimizer, max_momentum)
        if last_epoch == -1:
            for number, group in enumerate(groups):
                put(group, "lr", base_lrs[number])
                if cycle_momentum:
                    high, low = self.max_momentums[number], self.base_momentums[number]
                    _put_momentum(group, high, self.use_beta1)
                    group.update(max_momentum=high, base_momentum=low)
        super().__init__(optimizer, last_epoch)
        self.base_lrs = base_lrs

    def scale_fn(self, x: float) -> float:
        """s, of the cycle or of the step."""
        if self._scale_fn_custom is not None:
            return self._scale_fn_custom(x)
        if self.mode == "triangular":
            return 1.0
        return 1 / 2.0 ** (x - 1) if self.mode == "triangular2" else self.gamma**x

    def get_lr(self) -> list[Rate]:
        """The rates at `last_epoch`, one for each group. The momenta are set."""
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        x = 1.0 + self.last_epoch / self.total_size - cycle
        height = x / self.step_ratio if x <= self.step_ratio else (x - 1) / (self.step_ratio - 1)
        scale = self.scale_fn(cycle if self.scale_mode == "cycle" else self.last_epoch)
        if self.cycle_momentum:
            bounds = zip(self.base_momentums, self.max_momentums, strict=True)
            for group, (low, high) in zip(self.optimizer.param_groups, bounds, strict=True):
                _put_momentum(group, high - (high - low) * height * scale, self.use_beta1)
        return [low + (high - low) * height * scale for low, high in zip(self.base_lrs, self.max_lrs, strict=True)]

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "_scale_fn_custom": saved_function(self._scale_fn_custom)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        super().load_state_dict({name: value for name, value in state_dict.items() if name != "_scale_fn_custom"})
        if (attributes := state_dict["_scale_fn_custom"]) is not None:
            self._scale_fn_custom.__dict__.update(attributes)


class OneCycleLR(LRScheduler):
    """lr from max_lr / div_factor up to max_lr in the first pct_start of all steps, then far below where it began.

    The end is max_lr / div_factor / final_div_factor; with three_phase it is first brought back to its beginning, in as
    many steps as it took to rise. anneal_strategy: "cos" or "linear", between the ends of a phase. momentum goes from
    max_momentum to base_momentum and back. total_steps, or epochs and steps_per_epoch: how many steps there are.
    Smith & Topin 2019.
    """

    def __init__(
        self,
        optimizer: Any,
        max_lr: float | list[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.85,
        max_momentum: float | list[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        groups = refuse_others("OneCycleLR", optimizer).param_groups
        self.total_steps = _total(total_steps, epochs, steps_per_epoch)
        if not (isinstance(pct_start, float) and 0 <= pct_start <= 1):
            raise ValueError(f"OneCycleLR(pct_start={pct_start!r}): expected a share of the steps, from 0.0 to 1.0")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"OneCycleLR(anneal_strategy={anneal_strategy!r}): expected 'cos' or 'linear'")
        self._anneal_func_type = anneal_strategy
        self._schedule_phases = _phases(self.total_steps, pct_start, three_phase)
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self.use_beta1 = _uses_beta1("OneCycleLR", optimizer)
        if last_epoch == -1:
            tops = for_each("OneCycleLR", "max_lr", optimizer, max_lr)
            lows = for_each("OneCycleLR", "base_momentum", optimizer, base_momentum)
            highs = for_each("OneCycleLR", "max_momentum", optimizer, max_momentum)
            for group, top, low, high in zip(groups, tops, lows, highs, strict=True):
                first = top / div_factor
                group.update(initial_lr=first, max_lr=top, min_lr=first / final_div_factor)
                if cycle_momentum:
                    _put_momentum(group, high, self.use_beta1)
                    group.update(max_momentum=high, base_momentum=low)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Rate]:
        """The rates at `last_epoch`, one for each group. The momenta are set."""
        if self.last_epoch > self.total_steps:
            raise ValueError(f"OneCycleLR was to take {self.total_steps} steps, and this is one more: it has ended")
        begin = 0.0
        for phase in self._schedule_phases[:-1]:
            if self.last_epoch <= phase["end_step"]:
                break
            begin = phase["end_step"]
        else:
            phase = self._schedule_phases[-1]
        share = (self.last_epoch - begin) / (phase["end_step"] - begin)
        groups = self.optimizer.param_groups
        if self.cycle_momentum:
            for group in groups:
                momentum = self._between(group[phase["start_momentum"]], group[phase["end_momentum"]], share)
                _put_momentum(group, momentum, self.use_beta1)
        return [self._between(group[phase["start_lr"]], group[phase["end_lr"]], share) for group in groups]

    def _between(self, start: float, end: float, share: float) -> float:
        if self._anneal_func_type == "linear":
            return (end - start) * share + start
        return end + (start - end) / 2.0 * (1 + math.cos(math.pi * share))


def _total(total_steps: Any, epochs: Any, steps_per_epoch: Any) -> int:
    given = (
        {"total_steps": total_steps}
        if total_steps is not None
        else {
            "epochs": epochs,
            "steps_per_epoch": steps_per_epoch,
        }
    )
    for name, value in given.items():
        if not isinstance(value, int) or value <= 0:
            raise ValueError(
                f"OneCycleLR({name}={value!r}): expected how many steps there are, as total_steps, or as epochs and "
                "steps_per_epoch"
            )
    return math.prod(given.values())


def _phases(total: int, share: float, three: bool) -> list[dict[str, Any]]:
    """Where each phase ends, and which of a group's numbers it leads from and to, as PyTorch saves them."""
    up = ("initial_lr", "max_lr", "max_momentum", "base_momentum")
    if three:
        ends = [share * total - 1, 2 * share * total - 2, total - 1]
        kinds = [
            up,
            ("max_lr", "initial_lr", "base_momentum", "max_momentum"),
            ("initial_lr", "min_lr", "max_momentum", "max_momentum"),
        ]
    else:
        ends = [share * total - 1, total - 1]
        kinds = [up, ("max_lr", "min_lr", "base_momentum", "max_momentum")]
    names = ("start_lr", "end_lr", "start_momentum", "end_momentum")
    return [{"end_step": end, **dict(zip(names, kind, strict=True))} for end, kind in zip(ends, kinds, strict=True)]

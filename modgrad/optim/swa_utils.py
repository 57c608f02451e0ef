"""Averages of parameters over the course of training.   Izmailov et al. 2018 (SWA); Polyak & Juditsky 1992."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from modgrad.graph import Buffer, Module, no_grad
from modgrad.optim.lr_scheduler.scheduler import LRScheduler, Rate, for_each

__all__ = ["SWALR", "AveragedModel", "get_ema_avg_fn", "get_ema_multi_avg_fn", "get_swa_avg_fn"]
__all__ += ["get_swa_multi_avg_fn", "update_bn"]

_plainly = torch._C.DisableTorchFunctionSubclass
Averaging = Callable[[Tensor, Tensor, Any], Tensor]  # (average, new, how many are in it) -> the average with it
AveragingMany = Callable[[Any, Any, Any], None]  # the same in place, on lists


def get_ema_avg_fn(decay: float = 0.999) -> Averaging:
    """a = decay a + (1 - decay) p: an exponential moving average. decay: from 0 to 1."""
    _refuse_decay(decay)

    def average(averaged: Tensor, current: Tensor, num_averaged: Any) -> Tensor:
        return decay * averaged + (1 - decay) * current

    return average


def get_swa_avg_fn() -> Averaging:
    """a = a + (p - a) / (n + 1): the mean of all so far. n: how many that are."""

    def average(averaged: Tensor, current: Tensor, num_averaged: Any) -> Tensor:
        return averaged + (current - averaged) / (num_averaged + 1)

    return average


def get_ema_multi_avg_fn(decay: float = 0.999) -> AveragingMany:
    """`get_ema_avg_fn` for many tensors of one dtype at once, in place."""
    _refuse_decay(decay)

    def average(averaged: list[Tensor], current: list[Tensor], num_averaged: Any) -> None:
        if averaged[0].is_floating_point():
            torch._foreach_lerp_(averaged, current, 1 - decay)
        else:
            for a, p in zip(averaged, current, strict=True):
                a.copy_(a * decay + p * (1 - decay))

    return average


def get_swa_multi_avg_fn() -> AveragingMany:
    """`get_swa_avg_fn` for many tensors of one dtype at once, in place."""

    def average(averaged: list[Tensor], current: list[Tensor], num_averaged: Any) -> None:
        share = 1 / (float(num_averaged) + 1)
        if averaged[0].is_floating_point():
            torch._foreach_lerp_(averaged, current, share)
        else:
            for a, p in zip(averaged, current, strict=True):
                a.copy_(a + (p - a) * share)

    return average


def _refuse_decay(decay: float) -> None:
    if not 0 <= decay <= 1:
        raise ValueError(f"an exponential moving average with decay={decay}: expected a number from 0 to 1")


class AveragedModel(Module):
    """A copy of a model whose parameters are averages of the model's, over the calls of `update_parameters`.

    >>> from modgrad import nn, optim
    >>> model = nn.Linear(2, 1)
    >>> averaged = optim.swa_utils.AveragedModel(model, multi_avg_fn=optim.swa_utils.get_ema_multi_avg_fn(0.9))
    >>> averaged.update_parameters(model)  # after each step, say
    >>> averaged(torch.ones(1, 2)).shape
    torch.Size([1, 1])

    device: where the averages are to be. avg_fn: (average, parameter, how many are averaged) -> the new average; or
    multi_avg_fn: the same in place on lists; the mean of all if both are None. use_buffers: whether buffers are
    averaged too; else they are copied. The first call copies everything.
    """

    n_averaged: Tensor

    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: Averaging | None = None,
        multi_avg_fn: AveragingMany | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise ValueError("AveragedModel(avg_fn=..., multi_avg_fn=...): one of the two says how to average")
        copy = deepcopy(model)
        self.module = copy if device is None else copy.to(device)
        self.n_averaged = Buffer(torch.tensor(0, dtype=torch.long, device=device))  # type: ignore[assignment]
        self.avg_fn, self.multi_avg_fn, self.use_buffers = avg_fn, multi_avg_fn, use_buffers

    def forward(self, *inputs: Any, **named: Any) -> Any:
        return self.module(*inputs, **named)

    def update_parameters(self, model: Module) -> None:
        """Take the model's parameters, as they are now, into the averages."""
        with _plainly(), torch.no_grad():
            buffers = list(zip(self.module.buffers(), model.buffers(), strict=True))
            parameters: Any = list(zip(self.module.parameters(), model.parameters(), strict=True))
            pairs, copies = (parameters + buffers, []) if self.use_buffers else (parameters, buffers)
            tensors = [(mine.detach(), theirs.detach().to(mine.device)) for mine, theirs in pairs]
            if self.n_averaged == 0:
                copies, tensors = copies + tensors, []
            for mine, theirs in copies:
                mine.copy_(theirs)
            if self.avg_fn is not None:
                for mine, theirs in tensors:
                    mine.copy_(self.avg_fn(mine, theirs, self.n_averaged.to(mine.device)))
            else:
                self._average_many(tensors)
            self.n_averaged += 1

    def _average_many(self, pairs: list[tuple[Tensor, Tensor]]) -> None:
        kinds: dict[Any, tuple[list[Tensor], list[Tensor]]] = {}
        for mine, theirs in pairs:
            averaged, current = kinds.setdefault((mine.device, mine.dtype), ([], []))
            averaged.append(mine)
            current.append(theirs)
        average = self.multi_avg_fn or get_swa_multi_avg_fn()
        for (device, _), (averaged, current) in kinds.items():
            average(averaged, current, self.n_averaged.to(device))


def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Give the model's BatchNorm layers the mean statistics of all batches, as averaged parameters need.

    loader: batches; of a tuple or list, the first is what the model is called with. device: where to move it to.
    """
    # By name, as this room knows no layers: BatchNorm1d to 3d, SyncBatchNorm, and what is made of them.
    layers: list[Any] = [m for m in model.modules() if any("BatchNorm" in kind.__name__ for kind in type(m).__mro__)]
    if not layers:
        return
    before = [(layer, layer.momentum) for layer in layers]
    training = [(module, module.training) for module in model.modules()]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # the mean of all batches
    try:
        model.train()
        with no_grad():
            for batch in loader:
                inputs = batch[0] if isinstance(batch, (list, tuple)) else batch
                model(inputs if device is None else inputs.to(device))
    finally:
        for layer, momentum in before:
            layer.momentum = momentum
        for module, mode in training:
            module.training = mode


class SWALR(LRScheduler):
    """lr goes to swa_lr in `anneal_epochs` epochs, by a cosine ("cos") or a line ("linear"), and stays there.

    swa_lr: for all groups, or one for each. Izmailov et al. 2018, section 3.1.
    """

    def __init__(
        self,
        optimizer: Any,
        swa_lr: float | list[float],
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ) -> None:
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"SWALR(anneal_strategy={anneal_strategy!r}): expected 'cos' or 'linear'")
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"SWALR(anneal_epochs={anneal_epochs!r}): expected a number of epochs from 0 up")
        for group, lr in zip(optimizer.param_groups, for_each("SWALR", "swa_lr", optimizer, swa_lr), strict=True):
            group["swa_lr"] = lr
        self._anneal_strategy, self.anneal_epochs = anneal_strategy, anneal_epochs
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Rate]:
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        before, now = self._share(step - 1), self._share(step)
        return [self._between(group["lr"], group["swa_lr"], before, now) for group in self.optimizer.param_groups]

    def _share(self, step: int) -> float:
        """How much of the way has been gone after so many steps."""
        t = max(0, min(1, step / max(1, self.anneal_epochs)))
        return t if self._anneal_strategy == "linear" else (1 - math.cos(math.pi * t)) / 2

    @staticmethod
    def _between(lr: Rate, end: Rate, before: float, now: float) -> Rate:
        first = end if before == 1 else (lr - before * end) / (1 - before)
        return end * now + first * (1 - now)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        super().load_state_dict({name: value for name, value in state_dict.items() if name != "anneal_func"})

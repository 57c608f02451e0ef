"""GradScaler: scales the loss so that float16 can hold its gradients, and passes over steps where it could not."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

import torch
from torch import Tensor

from modgrad import functional
from modgrad.graph.errors import describe

_plainly = torch._C.DisableTorchFunctionSubclass


class _Stage(Enum):
    READY = "its gradients are scaled"
    UNSCALED = "unscale_() has been called"
    STEPPED = "step() has been called"


class _Progress:
    """How far an optimizer has got since the last `update`."""

    def __init__(self) -> None:
        self.stage = _Stage.READY
        self.found: list[Tensor] = []  # one for each device: not 0 where a gradient was no finite number


class GradScaler:
    """Multiplies the loss by a scale before backward and divides the gradients by it after. A step whose gradients are
    not all finite is left out, and the scale falls; after growth_interval steps in a row that were not, it grows.

        with nn.autocast("cuda", torch.float16):
            loss = criterion(model(x), y)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)  # only where somebody looks at the gradients, as clipping does
        optim.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()

    PyTorch's arguments, methods and state_dict. device: "cuda" (without one it warns, and does nothing) or "cpu".
    growth_factor above 1, backoff_factor below 1. enabled=False: does nothing, and `step` is the optimizer's. bfloat16
    needs no scaler.

    >>> import torch
    >>> from modgrad import nn, optim
    >>> weight = nn.Parameter(torch.ones(3))
    >>> scaler, optimizer = optim.GradScaler("cpu", init_scale=8.0), optim.SGD([weight], lr=1.0)
    >>> scaler.scale((weight * weight).sum()).backward()
    >>> weight.grad_v
    tensor([16., 16., 16.])
    >>> scaler.step(optimizer)
    >>> scaler.update()
    >>> weight
    Parameter(tensor([-1., -1., -1.]))
    """

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        if device not in ("cuda", "cpu"):
            raise ValueError(f"GradScaler(device={device!r}): expected 'cuda' or 'cpu'")
        if enabled and device == "cuda" and not torch.cuda.is_available():
            warnings.warn("GradScaler('cuda') does nothing, as there is no such device here", stacklevel=2)
            enabled = False
        if enabled and not growth_factor > 1.0:
            raise ValueError(f"GradScaler(growth_factor={growth_factor}): expected a number above 1")
        if enabled and not backoff_factor < 1.0:
            raise ValueError(f"GradScaler(backoff_factor={backoff_factor}): expected a number below 1")
        self._device, self._enabled = device, enabled
        self._growth_factor, self._backoff_factor = growth_factor, backoff_factor
        self._growth_interval = growth_interval
        self._init_scale, self._init_tracker = init_scale, 0
        self._scale: Tensor | None = None  # made on the device of what is scaled first
        self._tracker: Tensor | None = None  # how many steps there have been in a row, none left out
        self._progress: dict[int, _Progress] = defaultdict(_Progress)  # by optimizer

    def scale(self, outputs: Any) -> Any:
        """A loss, or several in a list or tuple, times the scale."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            if self._scale is None:
                self._scale = torch.full((), self._init_scale, dtype=torch.float32, device=outputs.device)
                self._tracker = torch.full((), self._init_tracker, dtype=torch.int32, device=outputs.device)
            return outputs * self._scale.to(outputs.device)
        if isinstance(outputs, Iterable):
            scaled = [self.scale(output) for output in outputs]
            return type(outputs)(scaled) if isinstance(outputs, (list, tuple)) else scaled
        raise TypeError(f"GradScaler.scale: expected a loss, or several in a list or tuple, got {describe(outputs)}")

    def unscale_(self, optimizer: Any) -> None:
        """Divide the gradients of the optimizer's parameters by the scale, once they are all there: for who looks at
        them before `step`."""
        if not self._enabled:
            return
        scale, _ = self._begun("unscale_")
        progress = self._progress[id(optimizer)]
        if progress.stage is not _Stage.READY:
            raise RuntimeError(
                f"GradScaler.unscale_: {progress.stage.value} for this {type(optimizer).__name__} since the last "
                "update(): its gradients would be divided twice"
            )
        # 1 / s in float64, as a scale need not be a power of 2.
        progress.found = _unscale(optimizer, scale.double().reciprocal().float())
        progress.stage = _Stage.UNSCALED

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """`optimizer.step(*args, **kwargs)` on gradients divided by the scale, unless one is not finite. Gives what it
        gave, None where the step was left out."""
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs or any(map(callable, args)):
            raise RuntimeError(
                "GradScaler.step with a closure: it would compute gradients anew that nobody has looked through. "
                "Compute them before, and call step(optimizer)"
            )
        self._begun("step")
        progress = self._progress[id(optimizer)]
        if progress.stage is _Stage.STEPPED:
            raise RuntimeError(
                f"GradScaler.step: {progress.stage.value} for this {type(optimizer).__name__} since the last update()"
            )
        if progress.stage is _Stage.READY:
            self.unscale_(optimizer)
        if not progress.found:
            raise RuntimeError(
                f"GradScaler.step: no parameter of this {type(optimizer).__name__} has a gradient: call "
                "scaler.scale(loss).backward() before"
            )
        bad = sum(found.item() for found in progress.found)
        result = None if bad else optimizer.step(*args, **kwargs)
        progress.stage = _Stage.STEPPED
        return result

    def update(self, new_scale: float | Tensor | None = None) -> None:
        """Let the scale fall or grow, after every `step` of an iteration; or make it new_scale."""
        if not self._enabled:
            return
        scale, tracker = self._begun("update")
        if new_scale is not None:
            if isinstance(new_scale, Tensor) and new_scale.numel() != 1:
                raise ValueError(f"GradScaler.update({describe(new_scale)}): expected one number")
            scale.fill_(float(new_scale))
        else:
            found = [x.to(scale.device) for progress in self._progress.values() for x in progress.found]
            if not found:
                raise RuntimeError("GradScaler.update: nothing was stepped: call scaler.step(optimizer) before")
            factors = self._growth_factor, self._backoff_factor
            total = sum(found[1:], found[0])
            self._scale, self._tracker = functional.next_scale(scale, tracker, total, *factors, self._growth_interval)
        self._progress.clear()

    def _begun(self, method: str) -> tuple[Tensor, Tensor]:
        if self._scale is None or self._tracker is None:
            raise RuntimeError(
                f"GradScaler.{method}: no loss has been scaled: write scaler.scale(loss).backward() first"
            )
        return self._scale, self._tracker

    def get_scale(self) -> float:
        """The scale; 1 if not enabled. Waits for the device."""
        if not self._enabled:
            return 1.0
        return self._init_scale if self._scale is None else self._scale.item()

    def get_growth_factor(self) -> float:
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        self._growth_interval = new_interval

    def is_enabled(self) -> bool:
        return self._enabled

    def state_dict(self) -> dict[str, Any]:
        """Of after `update`: scale, the factors, the interval and how many steps there have been in a row. Empty if not
        enabled."""
        if not self._enabled:
            return {}
        return {
            "scale": self.get_scale(),
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._init_tracker if self._tracker is None else self._tracker.item(),
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave, PyTorch's too. Does nothing if not enabled."""
        if not self._enabled:
            return
        if not state_dict:
            raise RuntimeError("GradScaler.load_state_dict: the state is empty, as of a scaler that was not enabled")
        self._init_scale, self._init_tracker = state_dict["scale"], state_dict["_growth_tracker"]
        self._growth_factor, self._backoff_factor = state_dict["growth_factor"], state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
        if self._scale is not None and self._tracker is not None:
            self._scale.fill_(self._init_scale)
            self._tracker.fill_(self._init_tracker)

    def __getstate__(self) -> dict[str, Any]:
        if self._progress:
            raise RuntimeError("GradScaler: pickle it after update(), not between a step and its update")
        state = {**self.__dict__, "_init_scale": self.get_scale(), "_scale": None, "_tracker": None}
        if self._tracker is not None:
            state["_init_tracker"] = self._tracker.item()
        return state


def _unscale(optimizer: Any, inverse: Tensor) -> list[Tensor]:
    """Divide an optimizer's gradients. Gives, for each device, whether one of them was not finite."""
    found: dict[torch.device, Tensor] = {}
    kinds: dict[tuple[torch.device, torch.dtype], list[Tensor]] = defaultdict(list)
    with _plainly():
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                grad = parameter.grad
                if grad is None:
                    continue
                if grad.dtype is torch.float16:
                    raise ValueError(
                        "GradScaler: a parameter is float16, and so is its gradient, which 1 / scale would take out of "
                        "float16's range: keep parameters in float32, and run the model inside nn.autocast"
                    )
                if grad.is_sparse:
                    parameter.grad = grad = grad.coalesce()
                    grad = grad._values()
                kinds[grad.device, grad.dtype].append(grad)
        for (device, _), grads in kinds.items():
            if device not in found:
                found[device] = torch.zeros((), dtype=torch.float32, device=device)
            functional.unscale_(grads, inverse.to(device), found[device])
    return list(found.values())

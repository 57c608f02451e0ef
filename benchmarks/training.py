"""A training task that every framework is given alike, and its step as a user of modules writes it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Generator, Tensor

import modgrad.nn
import modgrad.optim
from benchmarks.harness import Step


def cross_entropy(nn: Any, model: Any) -> Any:
    """The criterion of all tasks but those that put their last layer in it."""
    return nn.CrossEntropyLoss()


@dataclass(frozen=True)
class Task:
    """model: makes it, of the layers of `nn`, which is modgrad.nn or torch.nn. batch: inputs and targets.

    rule: the optimizer's name, in modgrad as in PyTorch. hyper: its arguments.
    criterion: makes it, given `nn` and the model, whose weight it may share.
    """

    model: Callable[[Any], Any]
    batch: Callable[[Generator], tuple[Tensor, Tensor]]
    rule: str
    hyper: tuple[tuple[str, float], ...]
    criterion: Callable[[Any, Any], Any] = cross_entropy
    device: str = "cpu"
    dtype: torch.dtype = torch.float32

    @property
    def update(self) -> str:
        return f"{self.rule}({', '.join(f'{name}={value}' for name, value in self.hyper)})"


@cache
def data(task: Task, steps: int = 1) -> tuple[Tensor, Tensor]:
    """inputs (B, ...), targets (B, ...): noise to be learnt by heart, unless the task has better.

    For several steps in one call both are stacked: (steps, B, ...).
    """
    inputs, targets = task.batch(Generator().manual_seed(0))
    inputs = inputs.to(task.device, task.dtype if inputs.is_floating_point() else None)
    targets = targets.to(task.device)
    if steps == 1:
        return inputs, targets
    return torch.stack([inputs] * steps), torch.stack([targets] * steps)


@cache
def start(task: Task) -> dict[str, Tensor]:
    """The weights that everybody starts from: a state_dict."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = task.model(torch.nn).to(task.device, task.dtype)
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


@cache
def names(task: Task) -> tuple[list[str], list[str]]:
    """Of the parameters and of the buffers. What is shared has the first of its names."""
    with torch.device("meta"):
        model = task.model(torch.nn)
    return [name for name, _ in model.named_parameters()], [name for name, _ in model.named_buffers()]


def weights(task: Task) -> int:
    """Bytes of the parameters and buffers."""
    params, buffers = names(task)
    return sum(start(task)[name].nbytes for name in params + buffers)


def prepare(task: Task, steps: int = 1) -> None:
    """Loads what all contestants are given."""
    start(task)
    data(task, steps)


def parts(nn: Any, optim: Any, task: Task, channels_last: bool = False, **setting: Any) -> tuple[Any, Any, Any]:
    """The model with the common weights, the criterion, the optimizer. setting: of the optimizer."""
    model = task.model(nn).to(task.device, task.dtype)
    given = start(task)
    model.load_state_dict({name: given[name] for name in model.state_dict()})
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
    criterion = task.criterion(nn, model)
    return model, criterion, getattr(optim, task.rule)(model.parameters(), **dict(task.hyper), **setting)


def inputs_for(task: Task, channels_last: bool) -> tuple[Tensor, Tensor]:
    inputs, targets = data(task)
    return (inputs.contiguous(memory_format=torch.channels_last) if channels_last else inputs), targets


def by_modgrad(task: Task, **setting: Any) -> Step:
    return by_modules(modgrad.nn, modgrad.optim, task, **setting)


def by_pytorch(task: Task, precision: str = "highest", **setting: Any) -> Step:
    """precision: of float32 products. "medium" allows bfloat16 within them, and on the CPU has oneDNN do them."""
    step = by_modules(torch.nn, torch.optim, task, **setting)
    if precision == "highest":
        return step

    def with_precision() -> Any:
        torch.set_float32_matmul_precision(precision)
        try:
            return step()
        finally:
            torch.set_float32_matmul_precision("highest")

    return with_precision


def by_least_memory(task: Task, marked: Callable[[Any], Iterable[Any]], channels_last: bool = False) -> Step:
    """modgrad with these blocks computed again in backward, and each parameter updated within it."""
    model, criterion, optimizer = parts(modgrad.nn, modgrad.optim, task, channels_last)
    inputs, targets = inputs_for(task, channels_last)
    for block in marked(model):
        modgrad.nn.recompute(block)
    step = later("modgrad.step", "TrainingStep", model, criterion, optimizer, fuse_update=True)
    return lambda: step(inputs, targets)


def by_modules(nn: Any, optim: Any, task: Task, channels_last: bool = False, **setting: Any) -> Step:
    """The step as a user writes it, which is the same for modgrad and PyTorch."""
    model, criterion, optimizer = parts(nn, optim, task, channels_last, **setting)
    inputs, targets = inputs_for(task, channels_last)

    def step() -> Any:
        optimizer.zero_grad()
        loss = criterion(model(inputs), targets)
        loss.backward()
        optimizer.step()
        return loss

    return step


class Kept:
    """A `make` for what takes long to build: `build` returns a step, and what puts its state back to the start."""

    def __init__(self, build: Callable[[], tuple[Step, Callable[[], Any]]]) -> None:
        self.build = build
        self.built: tuple[Step, Callable[[], Any]] | None = None

    def __call__(self) -> Step:
        if self.built is None:
            self.built = self.build()
        else:
            self.built[1]()
        return self.built[0]


def back_to_start(task: Task, model: Any, optimizer: Any) -> None:
    """Weights, moments and counts as they were, in the memory where they are."""
    given = start(task)
    model.load_state_dict({name: given[name] for name in model.state_dict()})
    with torch.no_grad():
        for state in optimizer.state.values():
            for value in state.values():
                if isinstance(value, Tensor):
                    value.zero_()


def later(module: str, function: str, *arguments: Any, **named: Any) -> Any:
    """Calls a function of a module that is imported only now: it may not be installed, or take long."""
    return getattr(importlib.import_module(module), function)(*arguments, **named)

"""Models with much in them, and the loop that a step stands for, written out."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from modgrad import nn, optim
from modgrad.optim.clipping import clip_grad_norm_
from modgrad.step import TrainingStep

Batch = tuple[Any, ...]


class Everything(nn.Module):
    """Convolution, batch norm, dropout, a recomputed block with dropout in it, and three kinds of idle parameters."""

    def __init__(self, dropout: float = 0.3) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 3, 3, bias=False)
        self.norm = nn.BatchNorm2d(3)
        self.inner = nn.Linear(12, 8)
        self.embedding = nn.Embedding(5, 8)
        self.dropout = nn.Dropout(dropout)
        self.block = nn.recompute(nn.Sequential(nn.Linear(8, 6), nn.Tanh(), nn.Dropout(dropout), nn.Linear(6, 8)))
        self.frozen = nn.Linear(8, 8).freeze()
        self.idle = nn.Linear(3, 2)  # which no gradient reaches

    def forward(self, image: Any, token: Any) -> Any:
        x = self.norm(self.convolution(image)).relu().flatten(1)
        x = self.dropout(self.inner(x)) + self.embedding(token)
        return self.frozen(x + self.block(x))


def everything(dtype: torch.dtype = torch.float64, dropout: float = 0.3) -> tuple[nn.Module, nn.Module]:
    """The model, and a criterion that shares a weight with it and has one of its own."""
    model = Everything(dropout)
    criterion = nn.LinearCrossEntropyLoss(8, 5, bias=True)
    criterion.linear.weight = model.embedding.weight
    return model.to(dtype), criterion.to(dtype)


def pictures(size: int = 6, dtype: torch.dtype = torch.float64, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(size, 1, 4, 4, generator=generator, dtype=torch.float64).to(dtype)
    return image, *(torch.randint(5, (size,), generator=generator) for _ in range(2))


def perceptron(dtype: torch.dtype = torch.float64) -> nn.Module:
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2)).to(dtype)


def points(size: int = 6, dtype: torch.dtype = torch.float64, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(size, 3, generator=generator, dtype=torch.float64).to(dtype)
    return x, torch.randint(2, (size,), generator=generator)


def all_parameters(model: nn.Module, criterion: nn.Module) -> list[Any]:
    return list(dict.fromkeys([*model.parameters(), *criterion.parameters()]))


def step_of_everything(
    make: Callable[[Any], optim.Optimizer], dtype: torch.dtype = torch.float64, **options: Any
) -> TrainingStep:
    torch.manual_seed(1)
    model, criterion = everything(dtype)
    return TrainingStep(model, criterion, make(all_parameters(model, criterion)), seed=5, **options)


def step_of_points(
    make: Callable[[Any], optim.Optimizer], dtype: torch.dtype = torch.float64, **options: Any
) -> TrainingStep:
    torch.manual_seed(1)
    model = perceptron(dtype)
    return TrainingStep(model, nn.CrossEntropyLoss(), make(model.parameters()), **options)


def twin(step: TrainingStep) -> TrainingStep:
    """A step of its own that has come as far."""
    program, step.program = step.program, None
    try:
        return copy.deepcopy(step)
    finally:
        step.program = program


def by_hand(step: TrainingStep, batches: list[Batch]) -> list[Tensor]:
    """What the step stands for, without randomness: forward, loss, backward, clipping, update, schedule."""
    losses = []
    parameters = [p for group in step.optimizer.param_groups for p in group["params"]]
    for number, (*inputs, target) in enumerate(batches):
        if number % step.accumulate == 0:
            step.optimizer.zero_grad()
        loss = step.criterion(step.model(*inputs), target)
        losses.append(loss.detach())
        (loss / step.accumulate).backward()
        if (number + 1) % step.accumulate == 0:
            if step.clip is not None:
                clip_grad_norm_(parameters, step.clip)
            step.optimizer.step()
            if step.scheduler is not None:
                step.scheduler.step()
    return losses


class Halving:
    """A schedule: lr is halved at each step; any other number may be changed too."""

    def __init__(self, optimizer: optim.Optimizer, **others: Callable[[Any], Any]) -> None:
        self.optimizer, self.others, self.calls = optimizer, others, 0

    def step(self) -> None:
        self.calls += 1
        for group in self.optimizer.param_groups:
            group["lr"] *= 0.5
            for name, change in self.others.items():
                group[name] = change(group[name])


def tensors(step: TrainingStep) -> dict[str, Tensor]:
    """All that a step changes, by name, copied."""
    state = step.state
    return {f"{kind} {name}": tensor.clone() for kind, named in state.items() for name, tensor in named.items()}


def assert_same(mine: TrainingStep, other: TrainingStep, rtol: float = 1e-10, atol: float = 1e-12) -> None:
    """The same state, by kind and name, and the same state_dicts."""
    a, b = tensors(mine), tensors(other)
    a = {name: value for name, value in a.items() if not name.endswith(".step")}  # which may be shared, or not
    b = {name: value for name, value in b.items() if not name.endswith(".step")}
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=rtol, atol=atol, msg=lambda m, n=name: f"{n}: {m}")
    first, second = (step.optimizer.state_dict() for step in (mine, other))
    assert first["param_groups"] == second["param_groups"]
    for number in first["state"].keys() & second["state"].keys():
        torch.testing.assert_close(first["state"][number], second["state"][number], rtol=rtol, atol=atol)

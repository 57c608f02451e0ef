"""The head of a language model: a linear map onto a large vocabulary, cross entropy, and the way back to its input.

The contestants: modgrad's LinearCrossEntropyLoss, which makes the scores in chunks, and the two layers one after the
other, in modgrad and in PyTorch. The update is plain SGD, the same for all.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

import modgrad.nn
from benchmarks.harness import Contestant, Step, Workload

LR = 100.0  # the mean's gradient is small: so that the loss moves


@dataclass(frozen=True)
class Task:
    """samples: to a batch. features: of each. classes: the vocabulary."""

    samples: int
    features: int
    classes: int


@cache
def data(task: Task) -> tuple[Tensor, Tensor, Tensor]:
    """input (samples, features), targets (samples), and the weight (classes, features) that everybody starts from."""
    generator = torch.Generator().manual_seed(0)
    input = torch.randn(task.samples, task.features, generator=generator)
    target = torch.randint(task.classes, (task.samples,), generator=generator)
    return input, target, torch.randn(task.classes, task.features, generator=generator) * 0.02


def in_chunks(task: Task) -> Step:
    input, target, weight = data(task)
    criterion = modgrad.nn.LinearCrossEntropyLoss(task.features, task.classes)
    criterion.linear.weight.data.copy_(weight)
    return training(criterion.linear.weight, lambda: criterion(modgrad.nn.Variable(input), target))


def by_modgrad(task: Task) -> Step:
    return by_modules(modgrad.nn, modgrad.nn.Variable, task)


def by_pytorch(task: Task) -> Step:
    return by_modules(torch.nn, lambda x: x.detach().requires_grad_(), task)


def by_modules(nn: Any, leaf: Any, task: Task) -> Step:
    """Linear and CrossEntropyLoss, of modgrad.nn or torch.nn. leaf: makes of the input what wants a gradient."""
    input, target, weight = data(task)
    linear, criterion = nn.Linear(task.features, task.classes, bias=False), nn.CrossEntropyLoss()
    linear.weight.data.copy_(weight)
    return training(linear.weight, lambda: criterion(linear(leaf(input)), target))


def training(weight: Any, loss_of: Any) -> Step:
    def step() -> Any:
        weight.grad = None
        loss = loss_of()
        loss.backward()
        weight.data.sub_(weight.grad, alpha=LR)
        return loss.detach()

    return step


def workload(name: str, task: Task) -> Workload:
    two = "Linear and CrossEntropyLoss"
    contestants = [
        Contestant("modgrad, LinearCrossEntropyLoss", partial(in_chunks, task)),
        Contestant(f"modgrad, {two}", partial(by_modgrad, task)),
        Contestant(f"PyTorch, {two}", partial(by_pytorch, task), baseline=True),
    ]
    title = f"Vocabulary of {task.classes}, {task.features} features, batch {task.samples}, SGD(lr={LR:g})"
    return Workload(name, title, contestants)


WORKLOADS = [workload("vocabulary", Task(256, 128, 50257))]

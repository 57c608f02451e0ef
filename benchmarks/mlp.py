"""One training step of a multilayer perceptron: zero_grad, forward, loss, backward, update."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Generator, Tensor

from benchmarks.by_hand import by_hand
from benchmarks.contestants import MEDIUM, of_jax, of_modgrad, of_onnx, of_pytorch, of_torch_compile, of_whole_step
from benchmarks.harness import Contestant, Goal, Workload
from benchmarks.training import Task, prepare, weights
from modgrad.helper import generate_dataset


def perceptron(nn: Any, sizes: Sequence[int], activation: str = "ReLU") -> Any:
    """Linear layers with an activation after each but the last. nn: modgrad.nn or torch.nn."""
    layers = [layer for nI, nO in pairwise(sizes) for layer in (nn.Linear(nI, nO), getattr(nn, activation)())]
    return nn.Sequential(*layers[:-1])


def model(sizes: Sequence[int], activation: str, nn: Any) -> Any:
    """`perceptron` with `nn` last, as a Task wants it."""
    return perceptron(nn, sizes, activation)


def batch(sizes: Sequence[int], size: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """inputs (size, sizes[0]), targets (size,): the report's disc, or noise to be learnt by heart."""
    if sizes[0] == 2:
        return generate_dataset(size, generator)
    inputs = torch.randn(size, sizes[0], generator=generator)
    return inputs, torch.randint(sizes[-1], (size,), generator=generator)


def task(sizes: tuple[int, ...], size: int, rule: str, lr: float, activation: str = "ReLU", **others: Any) -> Task:
    """size: of the batch. others: of the Task."""
    make, draw = partial(model, sizes, activation), partial(batch, sizes, size)
    return Task(make, draw, rule, (("lr", lr),), **others)


ONNX_GOAL = Goal(4.0)
SETTINGS: dict[str, dict[str, Any]] = {"default": {}, "foreach=True": {"foreach": True}, "fused=True": {"fused": True}}


def workload(
    name: str, sizes: tuple[int, ...], size: int, rule: str, lr: float, eager: Goal, whole: Goal, device: str = "cpu"
) -> Workload:
    work = task(sizes, size, rule, lr, device=device)
    contestants = [
        *of_modgrad(work, eager, whole),
        *of_pytorch(work, SETTINGS | (MEDIUM if max(sizes) > 100 else {})),
        of_torch_compile(work),
        of_whole_step(work),
    ]
    if device == "cpu":
        contestants += of_onnx(work, ONNX_GOAL if max(sizes) <= 100 else None)
        contestants += of_jax(work, "perceptron")
        contestants.append(Contestant("written by hand", partial(by_hand, work), prepare=partial(prepare, work)))
    title = f"MLP {'-'.join(map(str, sizes))}, batch {size}, {work.update}"
    return Workload(name, title, contestants, weights=partial(weights, work))


def workloads(device: str) -> list[Workload]:
    report, wide = ((2, 25, 25, 25, 2), 100), ((784, 512, 512, 10), 128)
    of_report, of_wide = (Goal(2.0), Goal(7.0)), (Goal(1.2), Goal(1.4))
    return [
        workload("mlp-sgd", *report, "SGD", 0.1, *of_report, device),
        workload("mlp-adam", *report, "Adam", 0.001, *of_report, device),
        workload("mlp-wide-sgd", *wide, "SGD", 0.1, *of_wide, device),
        workload("mlp-wide-adam", *wide, "Adam", 0.001, *of_wide, device),
    ]

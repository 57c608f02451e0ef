"""The training step of an LSTM that reads a picture row by row and says which of 10 it is.

torch.compile does not take torch.nn.LSTM into a whole step, and as a loop over its formula it came to be slower than
eager after a minute of compiling, so that row is not there.
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import torch
from torch import Generator, Tensor

from benchmarks.contestants import FUSED, MEDIUM, of_jax, of_modgrad, of_pytorch, of_torch_compile
from benchmarks.harness import Goal, Workload
from benchmarks.training import Task, weights

INPUTS, STEPS = 28, 28


@cache
def _classifier(nn: Any) -> type:
    class Classifier(nn.Module):
        """(B, T, I) -> (B, 10)."""

        def __init__(self, hidden: int) -> None:
            super().__init__()
            self.lstm = nn.LSTM(INPUTS, hidden, batch_first=True)
            self.head = nn.Linear(hidden, 10)

        def forward(self, x: Any) -> Any:
            output, _ = self.lstm(x)
            return self.head(output[:, -1])

    return Classifier


def classifier(hidden: int, nn: Any) -> Any:
    return _classifier(nn)(hidden)


def batch(size: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """(size, T, I), (size,)."""
    return torch.randn(size, STEPS, INPUTS, generator=generator), torch.randint(10, (size,), generator=generator)


def workload(name: str, hidden: int, size: int, device: str = "cpu") -> Workload:
    work = Task(partial(classifier, hidden), partial(batch, size), "Adam", (("lr", 0.001),), device=device)
    contestants = [
        *of_modgrad(work, Goal(1.2), Goal(2.0)),
        *of_pytorch(work, FUSED | MEDIUM),
        of_torch_compile(work),
        *(of_jax(work, "lstm") if device == "cpu" else []),
    ]
    title = f"LSTM, {STEPS} steps of {INPUTS}, {hidden} hidden, batch {size}, {work.update}"
    return Workload(name, title, contestants, weights=partial(weights, work))


def workloads(device: str) -> list[Workload]:
    return [workload("lstm-rows", 128, 64, device)]

"""One training step of models of sequences: an LSTM, and attention with its heads split and joined.

The contestants are modgrad and PyTorch, each with SGD. Both run ATen's kernels for the recurrence and the attention.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

import modgrad.nn
import modgrad.optim
from benchmarks.harness import Contestant, Step, Workload

CLASSES = 10


def recurrent(nn: Any, input_size: int, hidden_size: int) -> Any:
    """A layer of LSTM, then class scores at every step."""

    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(input_size, hidden_size)
            self.scores = nn.Linear(hidden_size, CLASSES)

        def forward(self, x: Any) -> Any:  # (T, N, I)
            output, _ = self.lstm(x)
            return self.scores(output)

    return Recurrent()


def attentive(nn: Any, width: int, heads: int) -> Any:
    """Causal attention of a transformer's block, then class scores at every step."""

    class Attentive(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attend = nn.Linear(width, 3 * width)
            self.project = nn.Linear(width, width)
            self.scores = nn.Linear(width, CLASSES)

        def forward(self, x: Any) -> Any:  # (N, T, C)
            N, T, C = x.shape
            q, k, v = self.attend(x).split(C, dim=2)
            q, k, v = (t.view(N, T, heads, C // heads).transpose(1, 2) for t in (q, k, v))
            y = torch._C._nn.scaled_dot_product_attention(q, k, v, is_causal=True)
            return self.scores(x + self.project(y.transpose(1, 2).contiguous().view(N, T, C)))

    return Attentive()


def make(nn: Any, optim: Any, model: Any, shape: tuple[int, ...]) -> Step:
    """The step as a user writes it. model: makes one of `nn`, whose weights are the same for the same seed."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(shape, generator=generator)
    targets = torch.randint(CLASSES, (shape[0] * shape[1],), generator=generator)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = model(nn)
    criterion, optimizer = nn.CrossEntropyLoss(), optim.SGD(net.parameters(), lr=0.5)

    def step() -> Any:
        optimizer.zero_grad()
        loss = criterion(net(inputs).flatten(0, 1), targets)
        loss.backward()
        optimizer.step()
        return loss

    return step


def by_modgrad(model: Any, shape: tuple[int, ...]) -> Step:
    return make(modgrad.nn, modgrad.optim, model, shape)


def by_pytorch(model: Any, shape: tuple[int, ...]) -> Step:
    return make(torch.nn, torch.optim, model, shape)


def workload(name: str, title: str, model: Any, shape: tuple[int, ...]) -> Workload:
    contestants = [
        Contestant("modgrad", partial(by_modgrad, model, shape)),
        Contestant("PyTorch", partial(by_pytorch, model, shape), baseline=True),
    ]
    return Workload(name, title, contestants)


def lstm(name: str, length: int, batch: int, size: int) -> Workload:
    title = f"LSTM({size}, {size}) over {length} steps, batch {batch}, SGD(lr=0.5)"
    return workload(name, title, partial(recurrent, input_size=size, hidden_size=size), (length, batch, size))


def attention(name: str, length: int, batch: int, width: int) -> Workload:
    title = f"Causal attention of width {width} with 4 heads over {length} steps, batch {batch}, SGD(lr=0.5)"
    return workload(name, title, partial(attentive, width=width, heads=4), (batch, length, width))


WORKLOADS = [
    lstm("lstm", 64, 16, 128),
    lstm("lstm-wide", 128, 16, 256),
    attention("attention", 16, 4, 128),
    attention("attention-wide", 256, 4, 128),
]

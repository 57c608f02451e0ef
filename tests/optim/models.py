"""A model here and in PyTorch, with the same weights, and a loop that trains either."""

from __future__ import annotations

from typing import Any

import torch

from modgrad import nn


def models(dtype: torch.dtype = torch.float64) -> tuple[nn.Module, torch.nn.Module]:
    twin = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Tanh(), torch.nn.Linear(5, 2)).to(dtype)
    mine = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)).to(dtype)
    mine.load_state_dict(twin.state_dict())
    return mine, twin


def train(model: Any, optimizer: Any, steps: int, seed: int = 1) -> list[float]:
    """Returns the losses. All batches are one and the same for an optimizer that evaluates a step several times."""
    mse = (torch.nn if isinstance(model, torch.nn.Module) else nn).MSELoss()
    generator = torch.Generator().manual_seed(seed)
    dtype = next(model.parameters()).dtype
    losses = []

    def closure() -> Any:
        optimizer.zero_grad()
        loss = mse(model(x), y)
        loss.backward()
        return loss

    for _ in range(steps):
        x = torch.randn(7, 3, generator=generator, dtype=torch.float64).to(dtype)
        y = torch.randn(7, 2, generator=generator, dtype=torch.float64).to(dtype)
        losses.append(optimizer.step(closure).detach().item())
    return losses


def assert_same(mine: nn.Module, twin: torch.nn.Module, **tolerance: float) -> None:
    for (name, a), (_, b) in zip(mine.named_parameters(), twin.named_parameters(), strict=True):
        torch.testing.assert_close(a.data, b.data, msg=lambda m, n=name: f"{n}: {m}", **tolerance)

"""Models to run under autocast, beside their twins."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from modgrad import nn

LOW = torch.bfloat16


def mlp(n: Any = nn) -> Any:
    return n.Sequential(n.Linear(6, 8), n.LayerNorm(8), n.GELU(), n.Linear(8, 8), n.ReLU(), n.Linear(8, 3))


def cnn(n: Any = nn) -> Any:
    layers = [n.Conv2d(2, 4, 3, padding=1), n.BatchNorm2d(4), n.ReLU(), n.MaxPool2d(2), n.Conv2d(4, 4, 3), n.PReLU()]
    return n.Sequential(*layers, n.Flatten(), n.Linear(16, 3))


def transformer(n: Any = nn) -> Any:
    layer = n.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    return n.Sequential(layer, n.Flatten(), n.Linear(32, 3))


MODELS = {"mlp": (mlp, (5, 6)), "cnn": (cnn, (5, 2, 8, 8)), "transformer": (transformer, (5, 4, 8))}


def twins(name: str) -> tuple[Any, Any, Tensor, Tensor]:
    make, shape = MODELS[name]
    model, twin = make(), make(torch.nn)
    model.load_state_dict(twin.state_dict())
    return model, twin, torch.randn(shape), torch.randint(3, (5,))


def gradients(model: Any, x: Tensor, target: Tensor) -> dict[str, Tensor]:
    """By autocast in a region of its own."""
    model.zero_grad()
    with nn.autocast(LOW):
        loss = nn.CrossEntropyLoss()(model(x), target)
    loss.backward()
    return {name: p.grad_v.clone() for name, p in model.named_parameters()}


def assert_equal(mine: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert mine.keys() == theirs.keys()
    for name, gradient in theirs.items():
        assert torch.equal(mine[name], gradient), name


class Attention(nn.Module):
    """Of products of its own layers' outputs: Variables where they are trained, plain tensors where not."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = nn.Linear(4, 4), nn.Linear(4, 4), nn.LayerNorm(4)

    def forward(self, x: Any) -> Any:
        scores = self.q(x) @ self.k(x).transpose(-2, -1)
        return torch.softmax(scores.float(), -1) @ self.v(x)

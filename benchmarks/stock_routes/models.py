"""The four models, for torch.nn or modgrad.nn, with a dead unit or tokens that never come: gradients of zero.

No bias stands before a BatchNorm and none in attention's projections: its true gradient is zero and its computed one
rounding noise, of which Adam makes steps as large as any.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Batch = tuple[Tensor, Tensor]


def mlp(nn: Any) -> Any:
    """(B, 2) -> (B, 2), the report's."""
    layers = [nn.Linear(2, 25), nn.ReLU(), nn.Linear(25, 25), nn.ReLU(), nn.Linear(25, 25), nn.ReLU(), nn.Linear(25, 2)]
    return nn.Sequential(*layers)


def cnn(nn: Any) -> Any:
    """(B, 1, 12, 12) -> (B, 10)."""
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(144, 10)),
    )


def cnn_with_batchnorm(nn: Any) -> Any:
    """(B, 1, 12, 12) -> (B, 10)."""
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(144, 10)),
    )


def transformer(nn: Any) -> Any:
    """(B, 8) of 20 tokens -> (B, 20, 8), for cross entropy."""

    class Transformer(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.token, self.place = nn.Embedding(20, 16), nn.Embedding(8, 16)
            self.before, self.attention = nn.LayerNorm(16), nn.MultiheadAttention(16, 2, bias=False, batch_first=True)
            self.between, self.wide, self.act, self.narrow = (
                *(nn.LayerNorm(16), nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16)),
            )
            self.head = nn.Linear(16, 20)

        def forward(self, x: Any) -> Any:
            x = self.token(x) + self.place(torch.arange(8))
            y = self.before(x)
            x = x + self.attention(y, y, y, need_weights=False)[0]
            x = x + self.narrow(self.act(self.wide(self.between(x))))
            return self.head(x).transpose(1, 2)

    return Transformer()


def points() -> Batch:
    x = torch.rand(32, 2)
    return x, ((x - 0.5).square().sum(1) < 0.16).long()


def images() -> Batch:
    return torch.rand(16, 1, 12, 12), torch.randint(10, (16,))


def tokens() -> Batch:
    """Tokens 15 to 19 never come: their rows of the embedding have gradients of zero."""
    x = torch.randint(15, (8, 9))
    return x[:, :-1].contiguous(), x[:, 1:].contiguous()


@dataclass(frozen=True)
class Subject:
    """A model and what it is trained on. dead: the bias whose first unit is switched off for good."""

    title: str
    model: Callable[[Any], Any]
    batch: Callable[[], Batch]
    dead: str | None = None


SUBJECTS = {
    "mlp": Subject("MLP", mlp, points, "2.bias"),
    "cnn": Subject("CNN", cnn, images, "3.bias"),
    "batchnorm": Subject("CNN with BatchNorm", cnn_with_batchnorm, images, "5.bias"),
    "transformer": Subject("transformer", transformer, tokens),
}


def made(subject: Subject) -> tuple[Any, Batch]:
    """PyTorch's model from a fixed start, and the batch."""
    torch.manual_seed(0)
    model = subject.model(torch.nn)
    if subject.dead is not None:
        with torch.no_grad():
            model.get_parameter(subject.dead)[0] = -100.0
    return model, subject.batch()

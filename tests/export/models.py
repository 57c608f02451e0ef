"""The models that an export is proven on, each written once for both: `nn` is modgrad's or PyTorch's."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from modgrad import functional, models
from modgrad import nn as modgrad_nn
from tests.models import twins

Batch = tuple[Tensor, Tensor]
PERIOD = 8
FLOOR = -sum(share * math.log(share) for share in (1 / PERIOD, 1 - 1 / PERIOD))  # 0.377, an entropy


def mlp(nn: Any) -> Any:
    return nn.Sequential(
        nn.Linear(2, 25), nn.ReLU(), nn.Linear(25, 25), nn.ReLU(), nn.Linear(25, 25), nn.ReLU(), nn.Linear(25, 2)
    )


def cnn(nn: Any) -> Any:
    """The convolutions have biases, whose gradients before batch normalization are rounding noise."""
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 16, 3, stride=2), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(3, 2, 1)),
        *(nn.Flatten(), nn.Linear(64, 10)),
    )


def resnet(nn: Any) -> Any:
    """ResNet-18's blocks and its number of layers, with fewer channels, to be trained for long."""

    class Block(nn.Module):
        def __init__(self, channels: int, out: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(channels, out, 3, stride, padding=1, bias=False)
            self.bn1 = nn.BatchNorm2d(out)
            self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
            self.bn2 = nn.BatchNorm2d(out)
            self.relu = nn.ReLU()
            self.shortcut = (
                nn.Identity()
                if stride == 1 and channels == out
                else nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))
            )

        def forward(self, x: Any) -> Any:
            out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
            return self.relu(out + self.shortcut(x))

    widths = [4, 4, 4, 6, 6, 8, 8, 10, 10]
    strides = [1, 1, 2, 1, 2, 1, 2, 1]
    blocks = [Block(a, b, stride) for a, b, stride in zip(widths[:-1], widths[1:], strides, strict=True)]
    model = nn.Sequential(
        *(nn.Conv2d(3, 4, 7, stride=2, padding=3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(3, 2, 1)),
        *blocks,
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(10, 5)),
    )
    return begun_smoothly(nn, model)


def recurrent(kind: str) -> Callable[[Any], Any]:
    def make(nn: Any) -> Any:
        class Tagger(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.embedding = nn.Embedding(11, 6)
                self.layers = getattr(nn, kind)(6, 8, num_layers=2, batch_first=True)
                self.head = nn.Linear(8, 11)

            def forward(self, x: Any) -> Any:  # (N, T)
                hidden, _ = self.layers(self.embedding(x))
                return self.head(hidden).transpose(1, 2)  # (N, C, T)

        return Tagger()

    return make


def transformer(nn: Any) -> Any:
    """Of two blocks, causal, with dropout at every place that is usual."""

    class Block(nn.Module):
        def __init__(self, width: int, heads: int) -> None:
            super().__init__()
            self.heads = heads
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
            self.act, self.soft = nn.GELU(), nn.Softmax(-1)
            self.drop = nn.ModuleList([nn.Dropout(0.1) for _ in range(3)])

        def forward(self, x: Any) -> Any:  # (N, T, D)
            N, T, D = x.shape
            q, k, v = (
                part.reshape(N, T, self.heads, D // self.heads).transpose(1, 2)
                for part in self.qkv(self.norm1(x)).chunk(3, -1)
            )
            scores = q @ k.transpose(-2, -1) / (D // self.heads) ** 0.5
            future = torch.ones(T, T, dtype=torch.bool).triu(1)
            weights = self.drop[0](self.soft(scores.masked_fill(future, float("-inf"))))
            x = x + self.drop[1](self.out((weights @ v).transpose(1, 2).reshape(N, T, D)))
            return x + self.drop[2](self.down(self.act(self.up(self.norm2(x)))))

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.token, self.place = nn.Embedding(13, 16), nn.Embedding(6, 16)
            self.drop = nn.Dropout(0.1)
            self.blocks = nn.Sequential(Block(16, 2), Block(16, 2))
            self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, 13, bias=False)

        def forward(self, x: Any) -> Any:  # (N, T)
            h = self.drop(self.token(x) + self.place(torch.arange(x.shape[1])))
            return self.head(self.norm(self.blocks(h))).transpose(1, 2)

    return Model()


def unet(nn: Any) -> Any:
    """A small one, which goes up by a transposed convolution and by interpolation."""

    def double(channels: int, out: int) -> Any:
        layers = [nn.Conv2d(channels, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]
        return nn.Sequential(*layers, nn.Conv2d(out, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU())

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.third = double(1, 4), double(4, 6), double(6, 8)
            self.pool = nn.MaxPool2d(2)
            self.up1, self.up2 = nn.ConvTranspose2d(8, 6, 2, stride=2), nn.Upsample(scale_factor=2, mode="bilinear")
            self.right1, self.right2 = double(12, 6), double(10, 4)
            self.head = nn.Conv2d(4, 3, 1)

        def forward(self, x: Any) -> Any:
            a = self.first(x)
            b = self.second(self.pool(a))
            c = self.third(self.pool(b))
            b = self.right1(torch.cat([b, self.up1(c)], 1))
            return self.head(self.right2(torch.cat([a, self.up2(b)], 1)))

    return begun_smoothly(nn, Model())


def begun_smoothly(nn: Any, model: Any) -> Any:
    """With most units of a normalized layer away from ReLU's kink, where two right runs part, and with residual blocks
    that are little more than their shortcuts."""
    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            if name.endswith("bn2"):
                nn.init.constant_(module.weight, 0.1)
            else:
                nn.init.constant_(module.bias, 2.0)
    return model


def published(mine: Callable[[], Any], twin: Callable[[], Any]) -> Callable[[Any], Any]:
    """A model of `modgrad.models`, and the same of torch.nn."""
    return lambda nn: mine() if nn is modgrad_nn else twin()


@dataclass(frozen=True)
class Model:
    make: Callable[[Any], Any]
    inputs: Callable[[int, torch.Generator], Tensor]
    classes: int
    places: tuple[int, ...] = ()  # a target's shape but for the batch's size
    size: int = 4
    # For a long run: samples, steps in which rounding does not show, learning rates.
    many: int = 8
    smooth: int = 50
    sgd: float = 0.01
    adam: float = 3e-3

    def batch(self, seed: int = 0, size: int = 0) -> Batch:
        size = size or self.size
        generator = torch.Generator().manual_seed(seed)
        x = self.inputs(size, generator)
        return x, torch.randint(self.classes, (size, *self.places), generator=generator)

    def contrary(self, number: int) -> Batch:
        """The same inputs each time, and of the targets each another one in one batch of `PERIOD`.

        So no model can tell them all: over a period the loss stays above `FLOOR`.
        """
        x, y = self.batch(0, self.many)
        if self.places == x.shape[2:]:  # of each pixel, whether it is bright
            x = x.sign()
            y = (x[:, 0] > 0).long()
        places = torch.arange(y.numel()).reshape(y.shape)
        return x, torch.where(places % PERIOD == number % PERIOD, (y + 1) % self.classes, y)


def images(*shape: int) -> Callable[[int, torch.Generator], Tensor]:
    return lambda size, generator: torch.randn(size, *shape, generator=generator)


def text(tokens: int, length: int) -> Callable[[int, torch.Generator], Tensor]:
    return lambda size, generator: torch.randint(tokens, (size, length), generator=generator)


MODELS = {
    "MLP": Model(mlp, images(2), 2, size=10, sgd=0.05),
    "LeNet": Model(published(models.LeNet, twins.LeNet), images(1, 28, 28), 10, sgd=0.012, adam=1e-3),
    "CNN": Model(cnn, images(1, 14, 14), 10, size=6),
    "ResNet": Model(resnet, images(3, 32, 32), 5, size=6, many=16, smooth=20, sgd=1e-3, adam=3e-5),
    "LSTM": Model(recurrent("LSTM"), text(11, 5), 11, (5,), sgd=0.2),
    "GRU": Model(recurrent("GRU"), text(11, 5), 11, (5,), sgd=0.2),
    "transformer": Model(transformer, text(13, 6), 13, (6,)),
    "U-Net": Model(unet, images(1, 8, 8), 3, (8, 8), sgd=3e-3, adam=3e-4),
}
# As they are published, for one step.
FULL = {
    "ResNet-18": Model(
        published(models.resnet18, lambda: twins.ResNet(twins.BasicBlock, [2, 2, 2, 2])),
        images(3, 32, 32),
        1000,
        size=8,
    ),
    "U-Net of 31 million": Model(
        published(lambda: models.UNet(1, 2), lambda: twins.UNet(1, 2, False, 64)), images(1, 32, 32), 2, (32, 32), 2
    ),
}


class Fed(torch.nn.Module):
    """Dropout of PyTorch's twin, with the mask that modgrad's draws: from a seed and the number of the drawing."""

    def __init__(self, p: float, drawing: Drawing) -> None:
        super().__init__()
        self.p, self.drawing = p, drawing

    def forward(self, x: Tensor) -> Tensor:
        key = functional.random_key(self.drawing.seed, self.drawing.number)
        self.drawing.number += 1
        return x * functional.dropout_mask(key, x.shape, self.p) / (1 - self.p)


class Drawing:
    """Where the drawings of a step have got to."""

    def __init__(self) -> None:
        self.seed, self.number = torch.zeros(2, dtype=torch.int64), 0


def pair(model: Model, seed: int = 0) -> tuple[Any, torch.nn.Module, Drawing]:
    """The model and its twin of torch.nn, with equal weights; and what the twin's dropout draws from."""
    torch.manual_seed(seed)
    mine, twin, drawing = model.make(modgrad_nn), model.make(torch.nn), Drawing()
    twin.load_state_dict(mine.state_dict())
    for name, module in list(twin.named_modules()):
        if isinstance(module, torch.nn.Dropout):
            twin.set_submodule(name, Fed(module.p, drawing))
    return mine, twin, drawing

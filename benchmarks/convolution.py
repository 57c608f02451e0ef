"""The training step of convolutional networks on images of 32x32: four layers, and ResNet-18."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import torch
from torch import Generator, Tensor

import modgrad.nn
from benchmarks.contestants import of_least_memory, of_modgrad, of_onnx, of_pytorch, of_torch_compile, of_whole_step
from benchmarks.harness import Goal, Workload
from benchmarks.training import Task, weights

CHANNELS_LAST: dict[str, Any] = {"channels_last": True}


def four_layers(nn: Any) -> Any:
    """(B, 3, 32, 32) -> (B, 10)."""
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),  # (B, 32, 16, 16)
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(64, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),  # (B, 64, 8, 8)
        nn.Flatten(),
        nn.Linear(4096, 10),
    )


@cache
def _block(nn: Any) -> type:
    class Block(nn.Module):
        """relu(x + body(x)), He et al. 2016."""

        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
                nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
                nn.BatchNorm2d(outputs),
            )
            self.shortcut = (
                nn.Identity()
                if stride == 1 and inputs == outputs
                else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
            )
            self.relu = nn.ReLU()

        def forward(self, x: Any) -> Any:
            return self.relu(self.body(x) + self.shortcut(x))

    return Block


def resnet18(nn: Any, widths: tuple[int, ...] = (64, 128, 256, 512)) -> Any:
    """(B, 3, 32, 32) -> (B, 10). The first layers are those for small images: 3x3, no pooling."""
    Block = _block(nn)
    layers = [nn.Conv2d(3, widths[0], 3, padding=1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU()]
    for nI, nO in zip((widths[0], *widths), widths, strict=False):
        layers += [Block(nI, nO, 1 if nO == widths[0] else 2), Block(nO, nO, 1)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], 10))


def blocks(model: Any) -> Any:
    """What is computed again in backward, where memory counts."""
    return [module for module in model if isinstance(module, _block(modgrad.nn))]


def batch(size: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """(size, 3, 32, 32), (size,)."""
    return torch.randn(size, 3, 32, 32, generator=generator), torch.randint(10, (size,), generator=generator)


def workload(
    name: str,
    words: str,
    model: Any,
    size: int,
    layout: dict[str, Any],
    device: str = "cpu",
    marked: Any = None,
    exported: bool = False,
    **others: Any,
) -> Workload:
    """layout: of the compiled model, where channels_last helps it. marked: what is computed again, if anything.

    exported: whether onnxruntime takes part.
    """
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    work = Task(model, partial(batch, size), "SGD", (("lr", 0.01), ("momentum", 0.9)), device=device, dtype=dtype)
    eager, last = Goal(1.1, memory=0.8), ", channels_last"
    contestants = [
        *of_modgrad(work, eager, Goal(1.2, memory=0.8), last, **CHANNELS_LAST),
        *([] if marked is None else [of_least_memory(work, marked, eager, last, **CHANNELS_LAST)]),
        *of_pytorch(
            work, {"fused=True": {"fused": True}, "fused=True, channels_last": {"fused": True, **CHANNELS_LAST}}
        ),
        of_torch_compile(work, **layout),
        of_whole_step(work),
        *(of_onnx(work) if exported and device == "cpu" else []),
    ]
    title = f"{words}, 3x32x32, batch {size}, {work.update}"
    tolerance = 1e-4 if dtype is torch.float32 else 5e-2
    return Workload(name, title, contestants, tolerance, weights=partial(weights, work), **others)


def two_layers(nn: Any) -> Any:
    """(B, 1, 28, 28) -> (B, 10)."""
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(1568, 10)),
    )


def digits(size: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """(size, 1, 28, 28), (size,)."""
    return torch.randn(size, 1, 28, 28, generator=generator), torch.randint(10, (size,), generator=generator)


def with_batchnorm(device: str) -> Workload:
    """A small net, as one would train it where the user is."""
    work = Task(two_layers, partial(digits, 32), "Adam", (("lr", 0.001),), device=device)
    contestants = [
        *of_modgrad(work, Goal(1.1), Goal(1.2), ", channels_last", **CHANNELS_LAST),
        *of_pytorch(
            work, {"fused=True": {"fused": True}, "fused=True, channels_last": {"fused": True, **CHANNELS_LAST}}
        ),
        of_whole_step(work),
        *(of_onnx(work) if device == "cpu" else []),
    ]
    title = f"Convolutional net of 2 layers with BatchNorm, 1x28x28, batch 32, {work.update}"
    return Workload("conv-bn", title, contestants, weights=partial(weights, work))


def workloads(device: str) -> list[Workload]:
    return [
        workload("conv", "Convolutional net of 4 layers", four_layers, 32, {}, device, exported=True),
        with_batchnorm(device),
        workload("resnet18", "ResNet-18", resnet18, 32, CHANNELS_LAST, device, blocks, agreement=2),
    ]

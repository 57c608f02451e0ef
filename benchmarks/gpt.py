"""The training step of a GPT, as in nanoGPT's model.py: tied embedding, no dropout.

Each is there with logits and CrossEntropyLoss, and with LinearCrossEntropyLoss, which never makes all logits at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from benchmarks.contestants import (
    FUSED,
    MEDIUM,
    of_jax,
    of_least_memory,
    of_modgrad,
    of_pytorch,
    of_torch_compile,
    of_whole_step,
)
from benchmarks.harness import Goal, Workload
from benchmarks.training import Task, cross_entropy, weights

CHUNK = 128  # tokens


@dataclass(frozen=True)
class Size:
    layers: int
    heads: int
    width: int
    context: int
    vocabulary: int


@cache
def _gpt(nn: Any) -> type:
    class Attention(nn.Module):
        """Causal, of several heads.   (B, T, C) -> (B, T, C)."""

        def __init__(self, size: Size) -> None:
            super().__init__()
            self.qkv = nn.Linear(size.width, 3 * size.width)
            self.projection = nn.Linear(size.width, size.width)
            self.heads = size.heads

        def forward(self, x: Any) -> Any:
            B, T, C = x.shape
            q, k, v = (y.view(B, T, self.heads, -1).transpose(1, 2) for y in self.qkv(x).split(C, dim=2))  # (B,H,T,-)
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            return self.projection(y.transpose(1, 2).reshape(B, T, C))

    class Block(nn.Module):
        def __init__(self, size: Size) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(size.width), nn.LayerNorm(size.width)
            self.attention = Attention(size)
            self.mlp = nn.Sequential(
                nn.Linear(size.width, 4 * size.width),
                nn.GELU(approximate="tanh"),
                nn.Linear(4 * size.width, size.width),
            )

        def forward(self, x: Any) -> Any:
            x = x + self.attention(self.norm1(x))
            return x + self.mlp(self.norm2(x))

    class GPT(nn.Module):
        """(B, T) -> logits (B T, V), or, where the criterion has the last layer, what it is given, (B T, C)."""

        def __init__(self, size: Size, logits: bool) -> None:
            super().__init__()
            self.wte = nn.Embedding(size.vocabulary, size.width)
            self.wpe = nn.Embedding(size.context, size.width)
            self.blocks = nn.Sequential(*(Block(size) for _ in range(size.layers)))
            self.norm = nn.LayerNorm(size.width)
            self.head = nn.Linear(size.width, size.vocabulary, bias=False)
            self.head.weight = self.wte.weight
            for module in (self.wte, self.wpe):
                nn.init.normal_(module.weight, std=0.02)
            self.logits = logits

        def forward(self, x: Any) -> Any:
            positions = torch.arange(x.shape[1], device=x.device)
            h = self.norm(self.blocks(self.wte(x) + self.wpe(positions))).flatten(0, 1)
            return self.head(h) if self.logits else h

    return GPT


def gpt(size: Size, logits: bool, nn: Any) -> Any:
    return _gpt(nn)(size, logits)


def chunked(nn: Any, model: Any) -> Any:
    """LinearCrossEntropyLoss with the embedding's weight.

    PyTorch's is in chunks only if asked. Its own choice is chunks of 2 tokens here, with which the loss takes 8 times
    as long on the CPU as with 128: the best setting is what counts.
    """
    vocabulary, width = model.wte.weight.shape
    options = {"options": nn.LinearCrossEntropyOptions(batch_chunk_size=CHUNK)} if nn is torch.nn else {}
    criterion = nn.LinearCrossEntropyLoss(width, vocabulary, **options)
    criterion.linear.weight = model.wte.weight
    return criterion.to(model.wte.weight.device)


def batch(size: Size, sequences: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """(B, T), (B T,)."""
    tokens = torch.randint(size.vocabulary, (sequences, size.context + 1), generator=generator)
    return tokens[:, :-1].contiguous(), tokens[:, 1:].flatten()


def blocks(model: Any) -> Any:
    """What is computed again in backward, where memory counts."""
    return model.blocks


def workload(
    name: str,
    size: Size,
    sequences: int,
    eager: Goal,
    whole: Goal,
    device: str = "cpu",
    jax: bool = False,
    **others: Any,
) -> Workload:
    dtype = torch.bfloat16 if device == "cuda" else torch.float32

    def task(logits: bool, criterion: Any) -> Task:
        draw = partial(batch, size, sequences)
        return Task(partial(gpt, size, logits), draw, "Adam", (("lr", 0.001),), criterion, device, dtype)

    plain, frugal = task(True, cross_entropy), task(False, chunked)
    words = ", LinearCrossEntropyLoss"
    large = size.vocabulary > 1000  # else there is nothing to save
    contestants = [
        *of_modgrad(plain, eager, whole, together=not large),
        *(of_modgrad(frugal, eager, whole, words, together=False) if large else []),
        *([of_least_memory(frugal, blocks, eager, words)] if large else []),
        *of_pytorch(plain, FUSED | MEDIUM),
        *(of_pytorch(frugal, FUSED | MEDIUM, words) if large else []),
        of_torch_compile(plain),
        of_whole_step(plain),
        *(of_jax(plain, "small_gpt") if jax and device == "cpu" else []),
    ]
    title = (
        f"GPT, {size.layers} layers, {size.heads} heads, {size.width} wide, context {size.context}, "
        f"{size.vocabulary:,} tokens, batch {sequences}, {plain.update}"
    )
    tolerance = 1e-4 if dtype is torch.float32 else 5e-2
    return Workload(name, title, contestants, tolerance, weights=partial(weights, plain), **others)


SMALL = Size(2, 4, 64, 64, 65)
MIDDLE = Size(6, 6, 384, 256, 50257)
GPT2 = Size(12, 12, 768, 1024, 50257)  # 124 million parameters


def workloads(device: str) -> list[Workload]:
    goals = Goal(1.1, memory=0.6), Goal(1.3, memory=0.5)
    found = [
        workload("gpt-small", SMALL, 8, Goal(1.2), Goal(1.6), device, jax=True),
        workload("gpt", MIDDLE, 2 if device == "cpu" else 32, *goals, device, agreement=3),
    ]
    return found + ([workload("gpt2-124m", GPT2, 8, *goals, device, agreement=3)] if device == "cuda" else [])

"""What a row of the table is, and what rows are made with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from modgrad import nn

Inputs = tuple[Tensor, ...]

twin = torch.nn


class Function(nn.Module):
    """An operator as a module: what it does to Variables is what `function` says."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Any) -> Any:
        return self.function(*inputs)


class TorchFunction(torch.nn.Module):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Any) -> Any:
        return self.function(*inputs)


@dataclass(frozen=True)
class Case:
    name: str
    make: Callable[[], nn.Module]
    make_twin: Callable[[], torch.nn.Module]
    inputs: list[Callable[[], Inputs]]
    primitives: tuple[str, ...]  # the primitives that it holds to the contract, by class
    empty: Callable[[], Inputs] | None = None
    training: bool = True
    dtypes: tuple[torch.dtype, ...] = (torch.float32, torch.bfloat16)  # beside float64
    smooth: bool = True  # whether central differences can be taken
    is_derivative: bool = True  # False where what backward gives is meant to be something else
    saves: bool = True  # whether something is saved for backward

    def __str__(self) -> str:
        return self.name


def normal(*shapes: tuple[int, ...]) -> Callable[[], Inputs]:
    """Values of a normal distribution, away from nothing: what most functions take."""
    return lambda: tuple(torch.randn(shape, dtype=torch.float64) for shape in shapes)


def positive(*shapes: tuple[int, ...]) -> Callable[[], Inputs]:
    """Values from 0.5 to 2, for logarithms, roots and divisors."""
    return lambda: tuple(torch.rand(shape, dtype=torch.float64) * 1.5 + 0.5 for shape in shapes)


def distinct(*shapes: tuple[int, ...]) -> Callable[[], Inputs]:
    """Values that are all different by far, so that a maximum is no tie, and exact in bfloat16."""
    return lambda: tuple(
        torch.randperm(torch.Size(shape).numel()).reshape(shape).to(torch.float64) / 8 - 1 for shape in shapes
    )


def scores_and_classes(shape: tuple[int, ...], ignored: bool = False) -> Callable[[], Inputs]:
    def make() -> Inputs:
        target = torch.randint(0, shape[1], (shape[0], *shape[2:])) if len(shape) > 1 else torch.tensor(shape[0] - 1)
        if ignored:
            target.view(-1)[0] = -100
        return torch.randn(shape, dtype=torch.float64), target

    return make


def scores_and_probabilities(shape: tuple[int, ...]) -> Callable[[], Inputs]:
    dim = 1 if len(shape) > 1 else 0
    return lambda: (
        torch.randn(shape, dtype=torch.float64),
        torch.randn(shape, dtype=torch.float64).softmax(dim),
    )


def with_indices(shape: tuple[int, ...], *indices: list[int]) -> Callable[[], Inputs]:
    return lambda: (torch.randn(shape, dtype=torch.float64), *map(torch.tensor, indices))


def numbers(below: int, *shapes: tuple[int, ...], dtype: torch.dtype = torch.int64) -> Callable[[], Inputs]:
    """Integers from 0 to below - 1, as an index."""
    return lambda: tuple(torch.randint(0, below, shape, dtype=dtype) for shape in shapes)


def rows(indices: list[Any]) -> Callable[[], Inputs]:
    """These very indices."""
    return lambda: (torch.tensor(indices),)


def layer(name: str, *inputs: Callable[[], Inputs], label: str = "", args: tuple[Any, ...] = (), **rest: Any) -> Case:
    """A layer with a twin of the same name and arguments. uses: the primitives that it runs, if not itself alone."""
    uses = rest.pop("uses", (name,))
    row = {
        key: rest.pop(key) for key in ("empty", "training", "dtypes", "is_derivative", "saves", "smooth") if key in rest
    }
    return Case(
        name=f"{name}{'-' if label else ''}{label}",
        make=lambda: getattr(nn, name)(*args, **rest),
        make_twin=lambda: getattr(twin, name)(*args, **rest),
        inputs=list(inputs),
        primitives=uses,
        **row,
    )


def operator(
    name: str, function: Callable[..., Any], *inputs: Callable[[], Inputs], uses: str | tuple[str, ...], **row: Any
) -> Case:
    """A function of tensors, applied to Variables and to PyTorch's tensors alike."""
    return Case(
        name=name,
        make=lambda: Function(function),
        make_twin=lambda: TorchFunction(function),
        inputs=list(inputs),
        primitives=(uses,) if isinstance(uses, str) else uses,
        **row,
    )


PER_CLASS = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)

"""The proof: exported steps of whole models in plain onnxruntime against PyTorch's autograd and its optimizers.

Float32, the same start, dropout's masks fed to the twin.

After one step every parameter is within 1e-6 of autograd's. With Adam those are left out whose gradient is rounding
noise: a convolution's bias before batch normalization, a key's bias in attention, by chance a weight here and there. Of
that noise Adam makes steps of the learning rate's size in any direction; the twin's own gradient in float64 tells which
they are.

After 1,000 steps the loss is within 1e-4 of autograd's, relatively. At a kink, of ReLU or of a maximum, a rounding
decides, so that two right runs part sooner or later: PyTorch's own in float32 and float64 after tens or hundreds of
steps, until their losses differ by thousandths. So the first steps are compared one by one, in which an error shows
(`test_an_error_shows`); and the end where both must come together again: learning rates fall to 0, and targets
contradict each other, so that the loss ends well above zero, where a relative difference would be one of roundings.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from modgrad import nn, optim
from modgrad.step import TrainingStep
from tests.export.models import FLOOR, FULL, MODELS, PERIOD, Drawing, Model, pair
from tests.export.running import Files, exported

# Of modgrad.optim or torch.optim, with parameters and learning rate.
OPTIMIZERS: dict[str, Callable[..., Any]] = {
    "SGD": lambda room, p, lr, **rest: room.SGD(p, **{"lr": lr, "momentum": 0.9, **rest}),
    "Adam": lambda room, p, lr, **rest: room.Adam(p, **{"lr": lr, **rest}),
    "AdamW": lambda room, p, lr, **rest: room.AdamW(p, **{"lr": lr, **rest}),
}
RATES = {"SGD": 0.05, "Adam": 1e-3, "AdamW": 1e-3}
SEED = 7
QUICK = {("MLP", "Adam"), ("CNN", "SGD"), ("transformer", "AdamW"), ("LSTM", "Adam")}
OPTIONS: dict[str, dict[str, Any]] = {
    "MLP": {"pack": True},
    "LSTM": {"steps": "scan"},
    "GRU": {"steps": "scan", "pack": True},
}
STANDARD = {""}


class Twin:
    """A model of torch.nn with an optimizer of torch.optim, trained by autograd."""

    def __init__(self, model: torch.nn.Module, drawing: Drawing, optimizer: str, lr: float, **rest: Any) -> None:
        self.model, self.drawing = model, drawing
        self.optimizer = OPTIMIZERS[optimizer](torch.optim, model.parameters(), lr, **rest)

    def step(self, number: int, batch: Any) -> Tensor:
        self.optimizer.zero_grad()
        loss = self._backward(number, batch)
        self.optimizer.step()
        return loss

    def train(self, batches: list[Any], rates: list[float]) -> Tensor:
        losses = []
        for number, (batch, rate) in enumerate(zip(batches, rates, strict=True)):
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            losses.append(self.step(number, batch))
        return torch.stack(losses)

    def gradients(self, dtype: torch.dtype, batch: Any) -> dict[str, Tensor]:
        """Those of a copy."""
        twin = copy.deepcopy(self)
        twin.model.to(dtype).zero_grad()
        x, y = batch
        twin._backward(0, (x.to(dtype) if x.is_floating_point() else x, y))
        return {name: p.grad for name, p in twin.model.named_parameters() if p.grad is not None}

    def _backward(self, number: int, batch: Any) -> Tensor:
        x, y = batch
        self.drawing.seed, self.drawing.number = torch.tensor([SEED, number]), 0
        loss = cross_entropy(self.model(x), y)
        loss.backward()
        return loss.detach()


class Trained:
    """A model exported, and its twin."""

    def __init__(self, model: Model, optimizer: str, lr: float, folder: Path, **options: Any) -> None:
        mine, twin, drawing = pair(model)
        self.twin = Twin(twin, drawing, optimizer, lr)
        step = TrainingStep(mine, nn.CrossEntropyLoss(), OPTIMIZERS[optimizer](optim, mine.parameters(), lr), seed=SEED)
        self.scans = options.get("steps") == "scan"
        self.files: Files = exported(step, folder, *model.batch(), **options)

    def noisy(self, batch: Any) -> dict[str, Tensor]:
        """By parameter, where the gradient is of the size of its rounding, unlike a dead unit's: a mask."""
        exact, rounded = (self.twin.gradients(dtype, batch) for dtype in (torch.float64, torch.float32))
        noise = {name: float((rounded[name] - g).abs().max()) for name, g in exact.items()}
        return {n: (g.abs() < 16 * noise[n]) & ((g != 0) | (rounded[n] != 0)) for n, g in exact.items()}

    def train(self, batches: list[Any], rates: list[float]) -> Tensor:
        """These steps in onnxruntime."""
        if self.scans:
            x, y = (torch.stack(parts) for parts in zip(*batches, strict=True))
            return self.files.train(x, y, lr=rates)["loss"]
        return torch.stack([self.files.train(*batch, lr=lr)["loss"] for batch, lr in zip(batches, rates, strict=True)])


def rows() -> list[Any]:
    return [
        pytest.param(name, optimizer, marks=[] if (name, optimizer) in QUICK else [pytest.mark.thorough])
        for name in MODELS
        for optimizer in OPTIMIZERS
    ]


@pytest.mark.parametrize(("name", "optimizer"), rows())
def test_one_step_is_autograds(name: str, optimizer: str, tmp_path: Path) -> None:
    _one_step(MODELS[name], optimizer, RATES[optimizer], tmp_path, **OPTIONS.get(name, {}))


@pytest.mark.thorough
@pytest.mark.parametrize("name", FULL)
def test_one_step_of_millions_is_autograds(name: str, tmp_path: Path) -> None:
    """With Adam it is not a question of 1e-6: its first step is the learning rate in the direction of each gradient,
    and among millions there are some, here hundreds, whose direction is PyTorch's rounding."""
    _one_step(FULL[name], "SGD", 0.01, tmp_path)


def _one_step(model: Model, optimizer: str, rate: float, folder: Path, **options: Any) -> None:
    """At another batch size than at export, and only standard operators are in the files."""
    trained = Trained(model, optimizer, rate, folder, **options)
    assert {domain for domain, _ in trained.files.operators} == STANDARD
    batch = model.batch(1, model.size + 1)
    noisy = trained.noisy(batch) if optimizer != "SGD" else {}
    loss = trained.twin.step(0, batch)
    torch.testing.assert_close(trained.train([batch], [rate])[0], loss, rtol=2e-6, atol=0)
    found = trained.files.state()
    compared = 0
    for key, expected in trained.twin.model.state_dict().items():
        apart = (found[key] - expected).abs()
        if key in noisy:
            apart = apart[~noisy[key]]
        compared += apart.numel()
        if apart.numel():
            assert float(apart.max()) <= 1e-6, key
    assert compared > 0.95 * sum(x.numel() for x in trained.twin.model.state_dict().values())


LONG = [(name, optimizer) for name in MODELS for optimizer in OPTIMIZERS]


@pytest.mark.thorough
@pytest.mark.parametrize(("name", "optimizer"), LONG)
def test_a_thousand_steps(name: str, optimizer: str, tmp_path: Path) -> None:
    """The first losses are autograd's, each within 1e-4, and so is their mean over the last period."""
    model = MODELS[name]
    batches, rates = _course(model, optimizer, 1000)
    theirs, mine = _both(name, optimizer, tmp_path, batches, rates)
    began, ended = theirs[:PERIOD].mean(), theirs[-PERIOD:].mean()
    assert 0.99 * FLOOR < ended < 0.75 * began
    torch.testing.assert_close(mine[: model.smooth], theirs[: model.smooth], rtol=1e-4, atol=0)
    torch.testing.assert_close(mine[-PERIOD:].mean(), ended, rtol=1e-4, atol=0)


def test_fifty_steps(tmp_path: Path) -> None:
    theirs, mine = _both("MLP", "Adam", tmp_path, *_course(MODELS["MLP"], "Adam", 50))
    torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=0)


# Of an optimizer, what is nearly right.
WRONG: dict[str, dict[str, Any]] = {
    "SGD": {"momentum": 0.899},
    "Adam": {"eps": 1e-5},
    "AdamW": {"weight_decay": 0.0},
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_an_error_shows(optimizer: str) -> None:
    """The losses of a twin that is a little wrong are further away than is allowed, within the first steps."""
    model = MODELS["MLP"]
    batches, rates = _course(model, optimizer, 1000)
    right, wrong = (Twin(*pair(model)[1:], optimizer, rates[0], **rest) for rest in ({}, WRONG[optimizer]))
    steps = model.smooth
    expected, found = (twin.train(batches[:steps], rates[:steps]) for twin in (right, wrong))
    assert float(((found - expected) / expected).abs().max()) > 2e-4


def _course(model: Model, optimizer: str, steps: int) -> tuple[list[Any], list[float]]:
    """Batches, and learning rates that fall to 0."""
    data = [model.contrary(number) for number in range(PERIOD)]
    rate = model.sgd if optimizer == "SGD" else model.adam
    return [data[number % PERIOD] for number in range(steps)], [rate * (1 - n / steps) for n in range(steps)]


def _both(name: str, optimizer: str, folder: Path, batches: list[Any], rates: list[float]) -> tuple[Tensor, Tensor]:
    """The losses of both."""
    trained = Trained(MODELS[name], optimizer, rates[0], folder, **OPTIONS.get(name, {}))
    return trained.twin.train(batches, rates), trained.train(batches, rates)

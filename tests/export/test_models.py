"""The proof: exported steps of whole models in plain onnxruntime against PyTorch's autograd and its optimizers.

Float32, the same start, dropout's masks fed to the twin. After one step every parameter is within 1e-6 of autograd's.
Left out are elements that PyTorch itself does not determine that closely: where its float32 step is farther than that
from its own step in float64. Such are those whose gradient is rounding noise, as a convolution's bias before batch
normalization or a key's bias in attention, of which Adam makes steps of the learning rate's size in any direction.
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
from tests.export.models import MODELS, Drawing, Fed, pair
from tests.export.running import Files, exported

OPTIMIZERS: dict[str, tuple[Callable[[Any], optim.Optimizer], Callable[[Any], torch.optim.Optimizer]]] = {
    "SGD": (lambda p: optim.SGD(p, lr=0.05, momentum=0.9), lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9)),
    "Adam": (lambda p: optim.Adam(p, lr=1e-3), lambda p: torch.optim.Adam(p, lr=1e-3)),
    "AdamW": (lambda p: optim.AdamW(p, lr=1e-3), lambda p: torch.optim.AdamW(p, lr=1e-3)),
}
SEED = 7
QUICK = {("MLP", "Adam"), ("CNN", "SGD"), ("transformer", "AdamW"), ("LSTM", "Adam")}
OPTIONS: dict[str, dict[str, Any]] = {
    "MLP": {"pack": True},
    "LSTM": {"steps": "scan"},
    "GRU": {"steps": "scan", "pack": True},
}
STANDARD = {""}


class Trained:
    """A model exported, and its twin, which is trained by autograd."""

    def __init__(self, name: str, optimizer: str, folder: Path, **options: Any) -> None:
        self.model = MODELS[name]
        mine, self.twin, self.drawing = pair(self.model)
        make, self.make_twin = OPTIMIZERS[optimizer]
        step = TrainingStep(mine, nn.CrossEntropyLoss(), make(mine.parameters()), seed=SEED)
        self.optimizer = self.make_twin(self.twin.parameters())
        self.scans = options.get("steps") == "scan"
        self.files: Files = exported(step, folder, *self.model.batch(), **options)

    def precise(self, batch: Any) -> dict[str, Tensor]:
        """The twin's parameters after one step by autograd in float64."""
        twin, drawing = copy.deepcopy(self.twin).double(), Drawing()
        for module in twin.modules():
            if isinstance(module, Fed):
                module.drawing = drawing
        drawing.seed = torch.tensor([SEED, 0])
        optimizer = self.make_twin(twin.parameters())
        x, y = batch
        cross_entropy(twin(x.double() if x.is_floating_point() else x), y).backward()
        optimizer.step()
        return {name: p.detach() for name, p in twin.named_parameters()}

    def theirs(self, number: int, batch: Any) -> Tensor:
        """One step by autograd."""
        x, y = batch
        self.drawing.seed, self.drawing.number = torch.tensor([SEED, number]), 0
        self.optimizer.zero_grad()
        loss = cross_entropy(self.twin(x), y)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def mine(self, batches: list[Any]) -> Tensor:
        """These steps in onnxruntime."""
        if self.scans:
            x, y = (torch.stack(parts) for parts in zip(*batches, strict=True))
            rates = [each["value"] for each in self.files.manifest["numbers"]] * len(batches)
            return self.files.train(x, y, lr=rates)["loss"]
        return torch.stack([self.files.train(*batch)["loss"] for batch in batches])


def rows() -> list[Any]:
    return [
        pytest.param(name, optimizer, marks=[] if (name, optimizer) in QUICK else [pytest.mark.thorough])
        for name in MODELS
        for optimizer in OPTIMIZERS
    ]


@pytest.mark.parametrize(("name", "optimizer"), rows())
def test_one_step_is_autograds(name: str, optimizer: str, tmp_path: Path) -> None:
    """And another one at another batch size, and only standard operators are in the files."""
    trained = Trained(name, optimizer, tmp_path, **OPTIONS.get(name, {}))
    assert {domain for domain, _ in trained.files.operators} == STANDARD
    batch = trained.model.batch(1, trained.model.size + 1)
    precise = trained.precise(batch)
    loss = trained.theirs(0, batch)
    torch.testing.assert_close(trained.mine([batch])[0], loss, rtol=2e-6, atol=0)
    found = trained.files.state()
    compared = 0
    for key, expected in trained.twin.state_dict().items():
        apart = (found[key] - expected).abs()
        if key in precise:
            apart = apart[(expected - precise[key]).abs() <= 1e-6]
            compared += apart.numel()
        if apart.numel():
            assert float(apart.max()) <= 1e-6, key
    assert compared >= 0.98 * sum(p.numel() for p in trained.twin.parameters())


LONG = [(name, optimizer) for name in MODELS for optimizer in OPTIMIZERS]


@pytest.mark.thorough
@pytest.mark.parametrize(("name", "optimizer"), LONG)
def test_a_thousand_steps(name: str, optimizer: str, tmp_path: Path) -> None:
    """The loss after 1,000 steps over four batches is autograd's, within 1e-4 of it."""
    _train(name, optimizer, tmp_path, 1000)


def test_fifty_steps(tmp_path: Path) -> None:
    _train("MLP", "Adam", tmp_path, 50)


def _train(name: str, optimizer: str, folder: Path, steps: int) -> None:
    trained = Trained(name, optimizer, folder, **OPTIONS.get(name, {}))
    data = [trained.model.batch(seed) for seed in range(4)]
    batches = [data[number % 4] for number in range(steps)]
    theirs = torch.stack([trained.theirs(number, batch) for number, batch in enumerate(batches)])
    mine = trained.mine(batches)
    torch.testing.assert_close(mine[-4:].mean(), theirs[-4:].mean(), rtol=1e-4, atol=0)

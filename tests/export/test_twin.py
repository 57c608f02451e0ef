"""What a schedule changes besides the learning rate cannot be exported: it is refused, not frozen in silence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from modgrad import nn, optim
from modgrad.export.onnx.errors import ExportError
from modgrad.export.twin import unscheduled
from modgrad.optim import lr_scheduler
from modgrad.step import TrainingStep

BATCH = torch.zeros(3, 2), torch.tensor([0, 1, 1])
Make = Callable[[Any], Any]


class Foreign:
    """A schedule that is nobody's subclass: of the learning rate, and of another number from a step on."""

    def __init__(self, optimizer: Any, name: str = "lr", start: int = 0) -> None:
        self.optimizer, self.name, self.start, self.steps = optimizer, name, start, 0

    def step(self) -> None:
        self.steps += 1
        for group in self.optimizer.param_groups:
            group["lr"] *= 0.9
            if self.steps > self.start:
                group[self.name] *= 0.5


def one_cycle(optimizer: Any, **options: Any) -> Any:
    return lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=50, **options)


def in_the_end(optimizer: Any) -> Any:
    """A schedule whose turn comes late."""
    first, second = lr_scheduler.ConstantLR(optimizer), one_cycle(optimizer)
    return lr_scheduler.SequentialLR(optimizer, [first, second], [100_000])


REFUSED: dict[str, tuple[Make, Make, str]] = {
    "one cycle": (lambda p: optim.SGD(p, lr=0.1, momentum=0.9), one_cycle, "OneCycleLR changes momentum "),
    "cycles of betas": (
        lambda p: optim.AdamW(p, lr=0.1),
        lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.1),
        "CyclicLR changes betas ",
    ),
    "in the end": (lambda p: optim.SGD(p, lr=0.1, momentum=0.9), in_the_end, "SequentialLR changes momentum "),
    "of one's own": (
        lambda p: optim.AdamW([{"params": list(p)[:1]}, {"params": list(p)[1:]}], lr=0.1),
        lambda o: Foreign(o, "weight_decay", start=70),
        "Foreign changes weight_decay ",
    ),
}


def closing_over(optimizer: Any) -> Any:
    """A schedule whose copy goes on changing the original's optimizer."""

    class Closing:
        def step(self) -> None:
            optimizer.param_groups[0]["lr"] *= 0.9

    return Closing()


TAKEN: dict[str, Make] = {
    "one cycle of lr alone": lambda o: one_cycle(o, cycle_momentum=False),
    "a table that ends": lambda o: lr_scheduler.LambdaLR(o, lambda epoch: (1.0, 0.5, 0.25)[epoch]),
    "cosine": lambda o: lr_scheduler.CosineAnnealingLR(o, 10),
    "of one's own": Foreign,
    "closing over its optimizer": closing_over,
}


def step_with(make: Make, schedule: Make) -> TrainingStep:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2))
    parameters = list(model.parameters())
    optimizer = make(parameters)
    return TrainingStep(model, nn.CrossEntropyLoss(), optimizer, scheduler=schedule(optimizer))


def numbers(step: TrainingStep) -> list[dict[str, Any]]:
    return [{name: x for name, x in group.items() if name != "params"} for group in step.optimizer.param_groups]


@pytest.mark.parametrize("name", REFUSED)
def test_a_schedule_of_other_numbers_is_refused(name: str, tmp_path: Path) -> None:
    make, schedule, words = REFUSED[name]
    step = step_with(make, schedule)
    before = numbers(step)
    with pytest.raises(ExportError, match=f"{words}as well as the learning rate.*step.scheduler = None"):
        step.export_onnx(tmp_path / "mlp.onnx", *BATCH)
    assert not list(tmp_path.iterdir())
    assert numbers(step) == before


def test_what_to_do_instead_does_it(tmp_path: Path) -> None:
    step = step_with(*REFUSED["one cycle"][:2])
    step.scheduler = None
    (number,) = step.export_onnx(tmp_path / "mlp.onnx", *BATCH)["numbers"]
    assert number["name"] == "lr"


@pytest.mark.parametrize("kind", [float, torch.tensor])
@pytest.mark.parametrize("name", TAKEN)
def test_a_schedule_of_learning_rates_is_not(name: str, kind: Callable[[float], Any]) -> None:
    """And neither it nor the optimizer has gone on."""
    step = step_with(lambda p: optim.SGD(p, lr=kind(0.1), momentum=0.9), TAKEN[name])
    held, schedule = step.optimizer.param_groups[0]["lr"], vars(step.scheduler).copy()
    rate, before = float(held), [{**group, "lr": kind(float(held))} for group in numbers(step)]
    twin = unscheduled(step)
    assert twin.scheduler is None
    assert numbers(twin) == numbers(step) == before
    assert step.optimizer.param_groups[0]["lr"] is held
    assert float(held) == rate
    assert vars(step.scheduler) == schedule

"""Every optimizer and every schedule in a TrainingStep: eager, as a pure function, traced, compiled."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from modgrad import nn, optim
from modgrad.optim import lr_scheduler as schedules
from modgrad.step import TrainingStep
from modgrad.step.binding import Binding
from modgrad.step.program import PureStep
from tests.optim.common import SETTINGS, ours
from tests.step.models import Batch, assert_same, points, twin

# 4 steps of float64; PyTorch's counts in float32 (see tests/optim/common.py) are multiplied in another order.
EXACT = {"rtol": 1e-7, "atol": 1e-9}
ALL = [*SETTINGS, ("Lion", {"lr": 0.01, "weight_decay": 0.1}), ("Lion", {"maximize": True})]
every_setting = pytest.mark.parametrize(("name", "options"), ALL, ids=str)
# One of each, with all that a rule can do, so that what takes seconds is not done fifty times.
LAST = dict(ALL) | {"RAdam": {"lr": 0.01, "betas": (0.8, 0.9), "weight_decay": 0.1}, "SGD": SETTINGS[2][1]}
LAST |= {"RMSprop": {"momentum": 0.5, "centered": True, "weight_decay": 0.1}, "Adam": SETTINGS[9][1]}
LAST |= {"Lion": {"lr": 0.01, "weight_decay": 0.1}}


class Scaled(nn.Module):
    """A perceptron; one of its parameters is a number, which a double lr would make a double."""

    def __init__(self, biases: bool = True) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 5, bias=biases), nn.Tanh(), nn.Linear(5, 2, bias=biases))
        if biases:
            self.scale = nn.Parameter(torch.tensor(1.5))
        self.biases = biases

    def forward(self, x: Any) -> Any:
        return self.body(x) * self.scale if self.biases else self.body(x)


def step_by(name: str, options: dict[str, Any], dtype: torch.dtype = torch.float64, **others: Any) -> TrainingStep:
    torch.manual_seed(1)
    model = Scaled(biases=name != "Muon").to(dtype)
    return TrainingStep(model, nn.CrossEntropyLoss(), ours(name, model.parameters(), options), **others)


def batches(count: int, dtype: torch.dtype = torch.float64) -> list[Batch]:
    return [points(6, dtype, seed) for seed in range(count)]


@every_setting
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_pure_step_is_the_eager_one_from_the_first_on(name: str, options: dict[str, Any], dtype: torch.dtype) -> None:
    """Also RAdam's turn to its second moment, and dampening, which begins with the second step."""
    step = step_by(name, options, dtype)
    other = twin(step)
    state = {kind: dict(named) for kind, named in step.state.items()}
    pure = PureStep(step)
    tolerance = EXACT if dtype is torch.float64 else {"rtol": 1e-5, "atol": 2e-6}
    for number, batch in enumerate(batches(8, dtype)):
        new, loss = pure(state, batch)
        torch.testing.assert_close(loss, other(*batch), **tolerance)
        for label, value in new.get("optimizer", {}).items():
            assert value.dtype is state["optimizer"][label].dtype
        state = new
        for key, value in other.state["parameters"].items():
            torch.testing.assert_close(
                state["parameters"][key], value, **tolerance, msg=lambda m, k=key, n=number: f"step {n}, {k}: {m}"
            )


@pytest.mark.parametrize("options", [{"fuse_update": True}, {"accumulate": 2}, {"clip": 0.1}], ids=str)
def test_eager_steps_and_programs_in_turn(options: dict[str, Any]) -> None:
    for name, settings in LAST.items():
        step = step_by(name, settings, **options)
        other = twin(step)
        for number, batch in enumerate(batches(6)):
            if number % 3:
                step(*batch)
            else:
                state = step.state
                state["count"] = {k: v.clone() for k, v in state.get("count", {}).items()}
                state = {kind: named for kind, named in state.items() if named}
                new, _ = step.prepared(lambda step=step, state=state, batch=batch: PureStep(step)(state, batch))
                take_over(step, new)
            other(*batch)
        for key, value in other.state["parameters"].items():
            torch.testing.assert_close(step.state["parameters"][key], value, **EXACT, msg=lambda m, n=name: f"{n}: {m}")


def take_over(step: TrainingStep, new: Any) -> None:
    """Put a program's results where the owners keep them."""
    with torch._C.DisableTorchFunctionSubclass():
        for place in step.places():
            place.get().copy_(new[place.kind][place.name])
        if step.accumulate > 1:
            step.accumulated = int(new["count"]["count"]) % step.accumulate
            for name, grad in new["gradients"].items():
                step.parameters()[name].grad = grad.clone() if step.accumulated else None


class Several(optim.Optimizer):
    """Many optimizers as one, each with a group, so that one program has the rules of all."""

    def __init__(self, parts: dict[str, optim.Optimizer]) -> None:
        self.parts = parts
        super().__init__([{**part.param_groups[0], "part": name} for name, part in parts.items()])

    def initials(self, params: Any, group: Any) -> Any:
        return self.parts[group["part"]].initials(params, group)

    def update(self, params: Any, grads: Any, states: Any, group: Any) -> None:
        self.parts[group["part"]].update(params, grads, states, group)

    structural = optim.Muon.structural


class Parts(nn.Module):
    """A part for each optimizer, none of which has to do with the others."""

    def __init__(self) -> None:
        super().__init__()
        for name in LAST:
            setattr(self, name, nn.Linear(3, 2, bias=name != "Muon"))

    def forward(self, x: Any) -> Any:
        return torch.cat([getattr(self, name)(x).tanh() for name in LAST], 1)


def step_by_all(dtype: torch.dtype) -> TrainingStep:
    torch.manual_seed(1)
    model = Parts().to(dtype)
    parts = {name: ours(name, getattr(model, name).parameters(), options) for name, options in LAST.items()}
    return TrainingStep(model, nn.MSELoss(reduction="sum"), Several(parts))


def targets(count: int, dtype: torch.dtype) -> list[Batch]:
    return [(x, torch.linspace(-1, 1, 2 * len(LAST), dtype=dtype) * x[:, :1]) for x, _ in batches(count, dtype)]


def test_traced() -> None:
    """torch.export's program over some steps, lr changed by a schedule in between, and never made anew."""
    step = step_by_all(torch.float64)
    other = twin(step)
    schedule = schedules.ExponentialLR(other.optimizer, 0.7)
    program = step.trace(*targets(1, torch.float64)[0], dynamic=False).module()
    state = copy.deepcopy(step.state)
    for batch in targets(8, torch.float64):
        for number, group in enumerate(other.optimizer.param_groups):
            state["schedule"][f"{number}.lr"] = torch.tensor(group["lr"], dtype=torch.float64)
        state, loss = program(state, batch)
        torch.testing.assert_close(loss, other(*batch), **EXACT)
        schedule.step()
    for key, value in other.state["parameters"].items():
        torch.testing.assert_close(state["parameters"][key], value, **EXACT, msg=lambda m, k=key: f"{k}: {m}")


@pytest.mark.xdist_group("compiled")
def test_compiled() -> None:
    """From the first step on, by one program."""
    step = step_by_all(torch.float32)
    other = twin(step)
    for each in (step, other):
        each.scheduler = schedules.ExponentialLR(each.optimizer, 0.9)
    run = other.compile(dynamic=False)
    for batch in targets(10, torch.float32):
        run(*batch)
        step(*batch)
    for key, value in step.state["parameters"].items():
        # Muon's matrices have 8 bits, of which the compiler keeps more in between.
        near = {"rtol": 0.01, "atol": 0.01} if "Muon" in key else {"rtol": 1e-5, "atol": 1e-5}
        torch.testing.assert_close(other.state["parameters"][key], value, **near, msg=lambda m, k=key: f"{k}: {m}")
    for mine, theirs in zip(other.optimizer.param_groups, step.optimizer.param_groups, strict=True):
        assert mine["lr"] == theirs["lr"]
    assert run.compilations + run.loaded == 1


SCHEDULES: list[tuple[str, Any]] = [
    ("LambdaLR", lambda o: schedules.LambdaLR(o, lambda t: 1 / (1 + t))),
    ("OneCycleLR", lambda o: schedules.OneCycleLR(o, max_lr=0.1, total_steps=8)),
    ("CyclicLR", lambda o: schedules.CyclicLR(o, base_lr=0.01, max_lr=0.1, step_size_up=3)),
    ("CosineAnnealingLR", lambda o: schedules.CosineAnnealingLR(o, 3)),
    ("PolynomialLR", lambda o: schedules.PolynomialLR(o, 4)),
    (
        "SequentialLR",
        lambda o: schedules.SequentialLR(o, [schedules.LinearLR(o), schedules.ExponentialLR(o, 0.5)], milestones=[3]),
    ),
]


@pytest.mark.parametrize("make", [make for _, make in SCHEDULES], ids=[name for name, _ in SCHEDULES])
@pytest.mark.parametrize(("name", "options"), [("SGD", {"momentum": 0.9}), ("Adam", {"lr": 0.01})])
def test_schedules_change_numbers_only(make: Any, name: str, options: dict[str, Any]) -> None:
    """What a compiled step is bound to holds over all of them: lr and momentum, down to an lr of 0, are inputs."""
    step = step_by(name, options)
    step.scheduler = make(step.optimizer)
    binding, labels = Binding(step), set(step.state["schedule"])
    assert labels & {"momentum", "betas.0"}
    assert not any("initial_lr" in label or "max_" in label for label in labels)
    for _ in range(7):
        step.scheduler.step()
        assert binding.holds()
        group = step.optimizer.param_groups[0]
        named = dict(zip(binding._labels, binding.numbers, strict=True))
        assert float(named["lr"]) == group["lr"]
        assert float(named.get("momentum", named.get("betas.0"))) == group.get("momentum", group.get("betas", [0])[0])


@pytest.mark.xdist_group("compiled")
def test_a_cycle_of_rate_and_momentum_in_one_program() -> None:
    step = step_by("Adam", {"lr": 0.01, "weight_decay": 0.01}, torch.float32)
    other = twin(step)
    for each in (step, other):
        each.scheduler = schedules.OneCycleLR(each.optimizer, max_lr=0.05, total_steps=20)
    run = other.compile(dynamic=False)
    for batch in batches(12, torch.float32):
        torch.testing.assert_close(run(*batch), step(*batch), rtol=1e-5, atol=1e-5)
    assert_same(other, step, rtol=1e-5, atol=1e-6)
    assert run.compilations + run.loaded == 1
    assert other.scheduler.get_last_lr() == step.scheduler.get_last_lr()


def test_structure_is_no_input() -> None:
    """A number that a program is made for makes another program; Muon's iterations are no tensor."""
    step = step_by("Muon", {})
    assert set(step.state["schedule"]) == {"lr", "weight_decay", "momentum", "eps"}
    binding = Binding(step)
    step.optimizer.param_groups[0]["lr"] = 0.5
    assert binding.holds()
    step.optimizer.param_groups[0]["ns_steps"] = 2
    assert not binding.holds()


def plateau(model: Any) -> TrainingStep:
    optimizer = optim.SGD(model.parameters())
    return TrainingStep(model, nn.MSELoss(), optimizer, scheduler=schedules.ReduceLROnPlateau(optimizer))


def hooked(model: Any, **options: Any) -> TrainingStep:
    optimizer = optim.SGD(model.parameters())
    optimizer.register_step_post_hook(lambda *given: None)
    return TrainingStep(model, nn.CrossEntropyLoss(), optimizer, **options)


ERRORS: list[tuple[str, Any, type[Exception], str]] = [
    (
        "LBFGS",
        lambda m: TrainingStep(m, nn.MSELoss(), optim.LBFGS(m.parameters())),
        TypeError,
        r"TrainingStep: LBFGS computes the loss as often as.*write optimizer.step\(closure\) in a loop",
    ),
    (
        "SparseAdam",
        lambda m: TrainingStep(m, nn.MSELoss(), optim.SparseAdam(m.parameters())),
        TypeError,
        "TrainingStep: SparseAdam is for sparse gradients.*write optim.Adam",
    ),
    ("plateau", plateau, TypeError, r"ReduceLROnPlateau goes by a number.*call its step\(loss\) after each epoch"),
    ("hooks in a program", lambda m: hooked(m).trace(*points()), RuntimeError, "SGD has hooks.*in a program"),
    ("hooks, fused", lambda m: hooked(m, fuse_update=True)(*points()), RuntimeError, "hooks.*with fuse_update"),
]


@pytest.mark.parametrize(("make", "error", "message"), [row[1:] for row in ERRORS], ids=[row[0] for row in ERRORS])
def test_errors(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make(Scaled().double())

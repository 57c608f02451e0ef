"""Every schedule against PyTorch's, over more than a hundred epochs, on groups of their own rates."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import pytest
import torch

from modgrad import nn, optim
from modgrad.optim import lr_scheduler as here
from modgrad.optim import swa_utils

# PyTorch's notes the order of calls where a schedule of schedules takes steps back, and where there were none before.
pytestmark = pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")
there: Any = torch.optim.lr_scheduler


class Halving:
    """A function that is an object, whose attributes a state_dict keeps."""

    def __init__(self, every: int = 7) -> None:
        self.every = every

    def __call__(self, x: float) -> float:
        return 0.5 ** (x // self.every)


def swalr(library: Any) -> Any:
    return swa_utils.SWALR if library is here else torch.optim.swa_utils.SWALR


def chained(library: Any, optimizer: Any) -> Any:
    parts = [library.ConstantLR(optimizer, factor=0.1, total_iters=20), library.ExponentialLR(optimizer, gamma=0.97)]
    return library.ChainedScheduler(parts, optimizer=optimizer)


def sequential(library: Any, optimizer: Any) -> Any:
    parts = [
        library.LinearLR(optimizer, total_iters=20),
        library.CosineAnnealingLR(optimizer, T_max=30, eta_min=1e-3),
        library.ExponentialLR(optimizer, gamma=0.9),
    ]
    return library.SequentialLR(optimizer, schedulers=parts, milestones=[20, 60])


def nested(library: Any, optimizer: Any) -> Any:
    parts = [library.ConstantLR(optimizer, total_iters=4), library.StepLR(optimizer, 9)]
    return library.SequentialLR(optimizer, [library.SequentialLR(optimizer, parts, [8]), parts[1]], [40])


MAKERS: list[tuple[str, Any]] = [
    ("LambdaLR", lambda s, o: s.LambdaLR(o, lambda t: 0.95**t)),
    ("LambdaLR of objects", lambda s, o: s.LambdaLR(o, [Halving(5), Halving(9)])),
    ("MultiplicativeLR", lambda s, o: s.MultiplicativeLR(o, lr_lambda=lambda t: 1 - 1 / (t + 5))),
    ("MultiplicativeLR each", lambda s, o: s.MultiplicativeLR(o, [lambda t: 0.99, Halving(300)])),
    ("StepLR", lambda s, o: s.StepLR(o, 30)),
    ("StepLR gamma", lambda s, o: s.StepLR(o, step_size=7, gamma=0.5)),
    ("MultiStepLR", lambda s, o: s.MultiStepLR(o, [90, 30, 30, 50], gamma=0.3)),
    ("ConstantLR", lambda s, o: s.ConstantLR(o)),
    ("ConstantLR all", lambda s, o: s.ConstantLR(o, factor=0.2, total_iters=50)),
    ("LinearLR", lambda s, o: s.LinearLR(o)),
    ("LinearLR down", lambda s, o: s.LinearLR(o, start_factor=1.0, end_factor=0.1, total_iters=80)),
    ("ExponentialLR", lambda s, o: s.ExponentialLR(o, 0.97)),
    ("PolynomialLR", lambda s, o: s.PolynomialLR(o)),
    ("PolynomialLR power", lambda s, o: s.PolynomialLR(o, total_iters=100, power=2.5)),
    ("CosineAnnealingLR", lambda s, o: s.CosineAnnealingLR(o, 20)),
    ("CosineAnnealingLR eta_min", lambda s, o: s.CosineAnnealingLR(o, T_max=33, eta_min=0.01)),
    ("CosineAnnealingWarmRestarts", lambda s, o: s.CosineAnnealingWarmRestarts(o, 10)),
    ("CosineAnnealingWarmRestarts T_mult", lambda s, o: s.CosineAnnealingWarmRestarts(o, 5, T_mult=2, eta_min=0.01)),
    ("CyclicLR", lambda s, o: s.CyclicLR(o, 0.001, 0.1, step_size_up=10)),
    (
        "CyclicLR triangular2",
        lambda s, o: s.CyclicLR(o, [0.001, 0.01], [0.1, 0.2], step_size_up=7, step_size_down=13, mode="triangular2"),
    ),
    ("CyclicLR exp_range", lambda s, o: s.CyclicLR(o, 0.001, 0.1, 8, mode="exp_range", gamma=0.98)),
    ("CyclicLR lr only", lambda s, o: s.CyclicLR(o, 0.001, 0.1, 8, cycle_momentum=False)),
    ("CyclicLR scale_fn", lambda s, o: s.CyclicLR(o, 0.001, 0.1, 8, scale_fn=Halving(2), base_momentum=[0.7, 0.8])),
    (
        "CyclicLR of steps",
        lambda s, o: s.CyclicLR(o, 0.001, 0.1, 8, scale_fn=lambda t: 1 / (1 + t), scale_mode="iterations"),
    ),
    ("OneCycleLR", lambda s, o: s.OneCycleLR(o, 0.1, total_steps=130)),
    (
        "OneCycleLR phases",
        lambda s, o: s.OneCycleLR(o, [0.1, 0.5], epochs=13, steps_per_epoch=10, three_phase=True, pct_start=0.4),
    ),
    (
        "OneCycleLR linear",
        lambda s, o: s.OneCycleLR(o, 0.1, 130, anneal_strategy="linear", div_factor=10.0, final_div_factor=100.0),
    ),
    ("OneCycleLR lr only", lambda s, o: s.OneCycleLR(o, 0.1, 130, cycle_momentum=False)),
    ("ChainedScheduler", chained),
    ("SequentialLR", sequential),
    ("SequentialLR nested", nested),
    ("SWALR", lambda s, o: swalr(s)(o, swa_lr=0.05)),
    ("SWALR linear", lambda s, o: swalr(s)(o, [0.05, 0.3], anneal_epochs=30, anneal_strategy="linear")),
    ("SWALR at once", lambda s, o: swalr(s)(o, 0.05, anneal_epochs=0)),
]
every_schedule = pytest.mark.parametrize("make", [make for _, make in MAKERS], ids=[name for name, _ in MAKERS])


def optimizer_of(library: Any, kind: str = "SGD", tensors: bool = False) -> Any:
    """One with two groups."""
    parameter = nn.Parameter if library is here else torch.nn.Parameter
    options = {"momentum": 0.9} if kind == "SGD" else {}
    lrs = [torch.tensor(lr, dtype=torch.float64) if tensors else lr for lr in (0.5, 0.2)]
    groups = [{"params": [parameter(torch.ones(1))], "lr": lr} for lr in lrs]
    optimizer = getattr(optim if library is here else torch.optim, kind)(groups, **options)
    optimizer.step()  # or PyTorch warns
    return optimizer


def numbers(optimizer: Any) -> list[float]:
    """What a schedule may change."""
    return [
        float(x)
        for group in optimizer.param_groups
        for x in (group["lr"], group.get("momentum", 0.0), *group.get("betas", ()))
    ]


def follow(schedule: Any, optimizer: Any, epochs: int) -> list[list[float]]:
    course = []
    for _ in range(epochs):
        optimizer.step()
        schedule.step()
        assert [float(lr) for lr in schedule.get_last_lr()] == [float(g["lr"]) for g in optimizer.param_groups]
        course.append(numbers(optimizer))
    return course


def close(a: Any, b: Any) -> None:
    torch.testing.assert_close(
        torch.tensor(a, dtype=torch.float64), torch.tensor(b, dtype=torch.float64), rtol=1e-10, atol=1e-14
    )


@every_schedule
@pytest.mark.parametrize("kind", ["SGD", "Adam"])
def test_same_numbers_as_pytorch(make: Any, kind: str) -> None:
    ran = []
    for library in (here, there):
        optimizer = optimizer_of(library, kind)
        schedule = make(library, optimizer)
        ran.append([numbers(optimizer), *follow(schedule, optimizer, 125)])
    close(*ran)


@every_schedule
@pytest.mark.filterwarnings("ignore:To copy construct")
def test_rates_in_tensors(make: Any) -> None:
    """They are changed in place, and what the schedule remembers is its own."""
    ran = []
    for library in (here, there):
        optimizer = optimizer_of(library, tensors=True)
        tensors = [group["lr"] for group in optimizer.param_groups]
        schedule = make(library, optimizer)
        ran.append(follow(schedule, optimizer, 40))
        for group, tensor in zip(optimizer.param_groups, tensors, strict=True):
            assert group["lr"] is tensor
        assert all(last is not tensor for last, tensor in zip(schedule.get_last_lr(), tensors, strict=True))
    close(*ran)


@every_schedule
def test_states_go_both_ways(make: Any) -> None:
    """Forty epochs here and the rest there, and the reverse."""
    for first, second in ((here, there), (there, here)):
        optimizer = optimizer_of(first)
        schedule = make(first, optimizer)
        follow(schedule, optimizer, 40)
        saved = pickle.loads(pickle.dumps((schedule.state_dict(), optimizer.state_dict())))
        before = copy.deepcopy(saved[0])
        other = optimizer_of(second)
        resumed = make(second, other)
        other.load_state_dict(saved[1])
        resumed.load_state_dict(saved[0])
        close(follow(resumed, other, 60), follow(schedule, optimizer, 60))
        if second is here:
            assert saved[0].keys() == before.keys(), "what is loaded stays as it was"


@every_schedule
def test_states_have_what_pytorchs_have(make: Any) -> None:
    mine, theirs = (make(library, optimizer_of(library)).state_dict() for library in (here, there))
    flags = {"_get_lr_called_within_step", "_is_initial"}
    assert mine.keys() - flags == theirs.keys() - flags


def test_functions_that_are_objects_are_saved() -> None:
    optimizer = optimizer_of(here)
    saved = here.LambdaLR(optimizer, [Halving(5), lambda t: 1.0]).state_dict()
    assert saved["lr_lambdas"] == [{"every": 5}, None]
    functions = [Halving(1), Halving(2)]
    here.LambdaLR(optimizer, functions).load_state_dict(saved)
    assert [function.every for function in functions] == [5, 2]
    scale = Halving(1)
    saved = here.CyclicLR(optimizer, 0.1, 0.2, scale_fn=Halving(4)).state_dict()
    here.CyclicLR(optimizer, 0.1, 0.2, scale_fn=scale).load_state_dict(saved)
    assert scale.every == 4


@every_schedule
def test_resumed_by_last_epoch(make: Any) -> None:
    """A new schedule, told how far the optimizer has come, as PyTorch's."""
    name = next(name for name, each in MAKERS if each is make)
    if name.startswith(("Chained", "Sequential", "CyclicLR", "OneCycleLR", "SWALR", "LambdaLR of", "MultiplicativeLR")):
        return  # which take it in another place, or have it tried below
    ran = []
    for library in (here, there):
        optimizer = optimizer_of(library)
        follow(make(library, optimizer), optimizer, 12)
        kind = getattr(library, name.split()[0])
        arguments = {
            "LambdaLR": [lambda t: 0.95**t],
            "StepLR": [5],
            "MultiStepLR": [[13, 15]],
            "ExponentialLR": [0.9],
            "CosineAnnealingLR": [20],
            "CosineAnnealingWarmRestarts": [10],
        }.get(name.split()[0], [])
        ran.append(follow(kind(optimizer, *arguments, last_epoch=12), optimizer, 30))
    close(*ran)


def test_resumed_cycles() -> None:
    for name, arguments in (
        ("OneCycleLR", (0.1, 60)),
        ("CyclicLR", (0.01, 0.1, 8)),
        ("MultiplicativeLR", (Halving(9),)),
    ):
        ran = []
        for library in (here, there):
            optimizer = optimizer_of(library)
            follow(getattr(library, name)(optimizer, *arguments), optimizer, 12)
            ran.append(follow(getattr(library, name)(optimizer, *arguments, last_epoch=12), optimizer, 30))
        close(*ran)


@pytest.mark.filterwarnings("ignore:The epoch parameter")
def test_an_epoch_by_number() -> None:
    """By the closed form, which ends where the steps do."""
    for name, make in MAKERS:
        if name.startswith(("Chained", "Sequential", "SWALR", "CyclicLR", "OneCycleLR", "MultiplicativeLR")):
            continue
        ran = []
        for library in (here, there):
            optimizer = optimizer_of(library)
            schedule = make(library, optimizer)
            course = []
            for epoch in (3, 4, 17, 2, 80):
                optimizer.step()
                schedule.step(epoch)
                course.append(numbers(optimizer))
            ran.append(course)
        close(*ran)
    ran = []
    for library in (here, there):
        optimizer = optimizer_of(library)
        schedule = library.CosineAnnealingWarmRestarts(optimizer, 5, 3)
        course = []
        for epoch in (0.5, 4.25, 19.5, 20.0, 77.7):
            optimizer.step()
            schedule.step(epoch)
            course.append(numbers(optimizer))
        ran.append(course)
    close(*ran)


PLATEAUS: list[dict[str, Any]] = [
    {},
    {"patience": 2, "factor": 0.5, "cooldown": 3},
    {"mode": "max", "patience": 1, "threshold": 0.1},
    {"threshold_mode": "abs", "threshold": 0.3, "patience": 0, "min_lr": [0.01, 0.1]},
    {"mode": "max", "threshold_mode": "abs", "threshold": 0.3, "patience": 3, "eps": 0.05},
]


@pytest.mark.parametrize("options", PLATEAUS, ids=str)
def test_plateaus(options: dict[str, Any]) -> None:
    def metric(epoch: int) -> float:
        return math.nan if epoch == 50 else math.exp(-epoch / 30) + 0.2 * math.sin(epoch * 1.7)

    def follow_metric(schedule: Any, optimizer: Any, epochs: range) -> list[Any]:
        course = []
        for epoch in epochs:
            schedule.step(torch.tensor(metric(epoch), dtype=torch.float64))
            course.append(numbers(optimizer))
            assert schedule.get_last_lr() == [g["lr"] for g in optimizer.param_groups]
        return course

    for first, second in ((here, there), (there, here)):
        one, other = optimizer_of(first), optimizer_of(second)
        a, b = first.ReduceLROnPlateau(one, **options), second.ReduceLROnPlateau(other, **options)
        assert follow_metric(a, one, range(120)) == follow_metric(b, other, range(120))
        assert a.state_dict().keys() == b.state_dict().keys()
        resumed = second.ReduceLROnPlateau(other)
        resumed.load_state_dict(copy.deepcopy(a.state_dict()))
        other.load_state_dict(one.state_dict())
        assert follow_metric(a, one, range(70)) == follow_metric(resumed, other, range(70))


def test_a_group_added_later_has_the_one_min_lr() -> None:
    optimizer = optimizer_of(here)
    schedule = here.ReduceLROnPlateau(optimizer, patience=0, min_lr=0.15)
    optimizer.add_param_group({"params": [nn.Parameter(torch.ones(1))], "lr": 9.0})
    for _ in range(4):
        schedule.step(1.0)
    assert [group["lr"] for group in optimizer.param_groups] == [0.15] * 3


def test_pytorchs_optimizers_are_scheduled_too() -> None:
    optimizer = optimizer_of(there)
    schedule = here.StepLR(optimizer, 1)
    schedule.step()
    assert [group["lr"] for group in optimizer.param_groups] == [0.05, pytest.approx(0.02)]


def o() -> Any:
    return optimizer_of(here)


ERRORS: list[tuple[Any, type[Exception], str]] = [
    (lambda: here.StepLR(0.1, 3), TypeError, "StepLR: optimizer is float 0.1, expected one with param_groups"),
    (lambda: here.StepLR(o(), 3, last_epoch=4), KeyError, "group 0 .* has no 'initial_lr'.*load the optimizer's"),
    (lambda: here.LambdaLR(o(), [len]), ValueError, "one for all, or one for each of the 2 groups"),
    (lambda: here.MultiplicativeLR(o(), 0.9), TypeError, "lr_lambda=0.9.*functions of the epoch"),
    (lambda: here.ConstantLR(o(), factor=2.0), ValueError, "factor=2.0.*from 0 to 1"),
    (lambda: here.LinearLR(o(), start_factor=0.0), ValueError, "start_factor=0.0.*above 0"),
    (lambda: here.LinearLR(o(), end_factor=-1.0), ValueError, "end_factor=-1.0"),
    (lambda: here.CosineAnnealingWarmRestarts(o(), 0), ValueError, "T_0=0.*from 1 up"),
    (lambda: here.CosineAnnealingWarmRestarts(o(), 3, T_mult=1.5), ValueError, "T_mult=1.5"),
    (lambda: here.CosineAnnealingWarmRestarts(o(), 3, eta_min="0"), ValueError, "eta_min='0'.*a number"),
    (lambda: here.CosineAnnealingWarmRestarts(o(), 3).step(-1), ValueError, "from 0 up"),
    (lambda: here.CyclicLR(o(), 0.1, 0.2, mode="x"), ValueError, "mode='x'.*or a scale_fn"),
    (lambda: here.CyclicLR(optim.Adagrad([nn.Parameter([1.0])]), 0.1, 0.2), ValueError, "cycle_momentum=False"),
    (lambda: here.OneCycleLR(o(), 0.1), ValueError, "epochs=None.*total_steps, or as epochs and steps_per_epoch"),
    (lambda: here.OneCycleLR(o(), 0.1, total_steps=0), ValueError, "total_steps=0"),
    (lambda: here.OneCycleLR(o(), 0.1, 10, pct_start=2.0), ValueError, "pct_start=2.0"),
    (lambda: here.OneCycleLR(o(), 0.1, 10, anneal_strategy="x"), ValueError, "'cos' or 'linear'"),
    (lambda: follow(here.OneCycleLR(q := o(), 0.1, 3), q, 4), ValueError, "to take 3 steps.*it has ended"),
    (lambda: here.ReduceLROnPlateau(o(), factor=1.0), ValueError, "factor=1.0.*below 1"),
    (lambda: here.ReduceLROnPlateau(o(), mode="x"), ValueError, "'min' or 'max'"),
    (lambda: here.ReduceLROnPlateau(o(), threshold_mode="x"), ValueError, "'rel' or 'abs'"),
    (lambda: here.ChainedScheduler([]), ValueError, "was given no schedulers"),
    (lambda: here.ChainedScheduler([3], o()), TypeError, "scheduler 0 is int 3"),
    (lambda: here.ChainedScheduler([here.ReduceLROnPlateau(o())]), ValueError, "call it by itself"),
    (lambda: here.ChainedScheduler([here.StepLR(o(), 1), here.StepLR(o(), 1)]), ValueError, "is another optimizer's"),
    (lambda: here.SequentialLR(q := o(), [here.StepLR(q, 1)], [3]), ValueError, "change 0 times, and there are 1 mile"),
    (lambda: here.LRScheduler(o()), RuntimeError, "write def following"),
    (lambda: swa_utils.SWALR(o(), 0.1, anneal_strategy="x"), ValueError, "'cos' or 'linear'"),
    (lambda: swa_utils.SWALR(o(), 0.1, anneal_epochs=-1), ValueError, "anneal_epochs=-1"),
]


@pytest.mark.parametrize(("make", "error", "message"), ERRORS, ids=[row[2] for row in ERRORS])
def test_errors(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()

"""TrainingStep, run eagerly: against the loop written out, and against PyTorch."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from modgrad import nn, optim
from modgrad.step import TrainingStep
from tests.step.models import (
    Halving,
    all_parameters,
    assert_same,
    by_hand,
    everything,
    perceptron,
    pictures,
    points,
    step_of_everything,
    step_of_points,
    twin,
)

# 20 steps of float64: a few roundings each, which the steps neither damp nor grow.
EXACT = {"rtol": 1e-10, "atol": 1e-12}

OPTIMIZERS: list[tuple[str, Any]] = [
    ("SGD", lambda p: optim.SGD(p, lr=0.1)),
    ("momentum", lambda p: optim.SGD(p, lr=0.05, momentum=0.9, dampening=0.2, weight_decay=0.01)),
    ("nesterov", lambda p: optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, maximize=True)),
    ("Adam", lambda p: optim.Adam(p, lr=0.01, weight_decay=0.01)),
    ("AMSGrad", lambda p: optim.Adam(p, lr=0.01, amsgrad=True)),
]
every_optimizer = pytest.mark.parametrize(
    "make", [make for _, make in OPTIMIZERS], ids=[name for name, _ in OPTIMIZERS]
)
OPTIONS: list[dict[str, Any]] = [{}, {"clip": 0.5}, {"accumulate": 3}, {"accumulate": 2, "clip": 0.5}]


@every_optimizer
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_is_the_loop_written_out(make: Any, options: dict[str, Any]) -> None:
    step = step_of_points(make, **options)
    other = twin(step)
    step.scheduler, other.scheduler = Halving(step.optimizer), Halving(other.optimizer)
    batches = [points(seed=i) for i in range(6)]
    losses = [step(*batch) for batch in batches]
    torch.testing.assert_close(losses, by_hand(other, batches), **EXACT)
    other.optimizer.zero_grad()  # which the loop does at the start, and the step at the end
    assert_same(step, other)
    assert step.scheduler.calls == 6 // step.accumulate
    assert all(type(loss) is torch.Tensor for loss in losses)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_is_pytorchs_loop(name: str, options: dict[str, Any]) -> None:
    model = perceptron()
    theirs = torch.nn.Sequential(
        torch.nn.Linear(3, 5), torch.nn.Tanh(), torch.nn.Linear(5, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2)
    ).double()
    theirs.load_state_dict(model.state_dict())
    step = TrainingStep(model, nn.CrossEntropyLoss(), getattr(optim, name)(model.parameters(), lr=0.05), **options)
    optimizer = getattr(torch.optim, name)(theirs.parameters(), lr=0.05)
    accumulate = options.get("accumulate", 1)
    for i in range(6):
        x, y = points(seed=i)
        loss = step(x, y)
        with torch.enable_grad():
            other = torch.nn.functional.cross_entropy(theirs(x), y)
            (other / accumulate).backward()
        torch.testing.assert_close(loss, other.detach(), **EXACT)
        if (i + 1) % accumulate == 0:
            if "clip" in options:
                torch.nn.utils.clip_grad_norm_(theirs.parameters(), options["clip"])
            optimizer.step()
            optimizer.zero_grad()
    for mine, other in zip(model.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine.detach(), other.detach(), **EXACT)


def test_accumulating_is_one_large_batch() -> None:
    step = step_of_points(lambda p: optim.Adam(p, lr=0.01), accumulate=4)
    whole = step_of_points(lambda p: optim.Adam(p, lr=0.01))
    for i in range(3):
        x, y = points(8, seed=i)
        losses = [step(x[k : k + 2], y[k : k + 2]) for k in range(0, 8, 2)]
        torch.testing.assert_close(torch.stack(losses).mean(), whole(x, y), **EXACT)
    for mine, other in zip(step.parameters().values(), whole.parameters().values(), strict=True):
        torch.testing.assert_close(mine.detach(), other.detach(), **EXACT)


def test_leaves_no_gradient_but_sums() -> None:
    step = step_of_everything(lambda p: optim.SGD(p[:3], lr=0.1), accumulate=2)
    step.model.convolution.weight.grad_v = torch.full_like(step.model.convolution.weight, torch.nan)  # of somebody else
    step(*pictures())
    assert step.model.convolution.weight.grad_v.isfinite().all()
    step(*pictures())
    assert all(p.grad_v is None for p in step.parameters().values())


def test_everything_at_once_learns() -> None:
    step = step_of_everything(lambda p: optim.Adam(p, lr=0.05))
    before = {name: p.detach().clone() for name, p in step.parameters().items()}
    losses = [step(*pictures()) for _ in range(60)]
    assert losses[-1] < losses[0] / 4
    stayed = {name for name, p in step.parameters().items() if torch.equal(p.detach(), before[name])}
    assert stayed == {"frozen.weight", "frozen.bias", "idle.weight", "idle.bias"}
    assert step.criterion.linear.weight is step.model.embedding.weight
    assert "criterion.linear.bias" in step.parameters()
    assert step.model.norm.num_batches_tracked == 60


def test_a_seed_makes_dropout_repeatable_and_none_leaves_it_to_torch() -> None:
    first = step_of_everything(lambda p: optim.SGD(p, lr=0.1))
    second, other = twin(first), twin(first)
    other.randomness[0] += 1  # type: ignore[index]
    first_loss = first(*pictures())
    torch.manual_seed(99)
    assert torch.equal(second(*pictures()), first_loss)
    assert not torch.equal(other(*pictures()), first_loss)
    assert first.randomness is not None
    assert first.randomness.tolist() == [5, 1]
    model, criterion = everything()
    step = TrainingStep(model, criterion, optim.SGD(all_parameters(model, criterion), lr=0.0))
    torch.manual_seed(3)
    loss = step(*pictures())
    assert not torch.equal(step(*pictures()), loss)
    torch.manual_seed(3)
    assert torch.equal(step(*pictures()), loss)


def test_evaluate_changes_nothing() -> None:
    step = step_of_everything(lambda p: optim.Adam(p, lr=0.01))
    step(*pictures())
    step.model.block[2].eval()
    other = twin(step)
    loss = step.evaluate(*pictures())
    assert_same(step, other)
    assert step.model.training
    assert not step.model.block[2].training
    assert type(loss) is torch.Tensor
    assert all(p.grad_v is None for p in step.parameters().values())
    other.model.eval()
    *inputs, target = pictures()
    torch.testing.assert_close(loss, other.criterion(other.model(*inputs), target).detach(), **EXACT)


def test_evaluate_restores_after_an_error() -> None:
    step = step_of_points(lambda p: optim.SGD(p))
    with pytest.raises(ValueError, match="shape"):
        step.evaluate(torch.ones(2, 7, dtype=torch.float64), torch.zeros(2, dtype=torch.long))
    assert all(module.training for module in step.model.modules())


def test_resumes_from_state_dicts() -> None:
    step = step_of_points(lambda p: optim.Adam(p, lr=0.01))
    step(*points())
    other = step_of_points(lambda p: optim.Adam(p, lr=7.0))
    other.model.load_state_dict(step.model.state_dict())
    other.optimizer.load_state_dict(step.optimizer.state_dict())
    for i in range(3):
        torch.testing.assert_close(step(*points(seed=i)), other(*points(seed=i)), **EXACT)
    assert_same(step, other)


def loss_of_each(prediction: Any, target: Any) -> Any:
    return prediction


ERRORS: list[tuple[str, Any, type[Exception], str]] = [
    ("clip", lambda m: TrainingStep(m, nn.MSELoss(), optim.SGD(m.parameters()), clip=0.0), ValueError, "above 0"),
    (
        "accumulate",
        lambda m: TrainingStep(m, nn.MSELoss(), optim.SGD(m.parameters()), accumulate=0),
        ValueError,
        "accumulate=0.*from 1 up",
    ),
    ("model", lambda m: TrainingStep(torch.relu, nn.MSELoss(), optim.SGD(m.parameters())), TypeError, "model is"),  # type: ignore[arg-type]
    ("criterion", lambda m: TrainingStep(m, loss_of_each, optim.SGD(m.parameters())), TypeError, "criterion is"),  # type: ignore[arg-type]
    (
        "PyTorch's optimizer",
        lambda m: TrainingStep(m, nn.MSELoss(), torch.optim.SGD(m.parameters())),  # type: ignore[arg-type]
        TypeError,
        "one of modgrad.optim.*loop of your own",
    ),
    (
        "scheduler",
        lambda m: TrainingStep(m, nn.MSELoss(), optim.SGD(m.parameters()), scheduler=0.1),
        TypeError,
        r"with a step\(\)",
    ),
    (
        "another model's",
        lambda m: TrainingStep(m, nn.MSELoss(), optim.SGD(perceptron().parameters())),
        ValueError,
        "6 of the optimizer's parameters belong neither",
    ),
    (
        "fused clipping",
        lambda m: TrainingStep(m, nn.MSELoss(), optim.SGD(m.parameters()), clip=1.0, fuse_update=True),
        ValueError,
        "the norm of all gradients is known only when the last one is there",
    ),
    (
        "one part",
        lambda m: TrainingStep(m, nn.MSELoss(), optim.SGD(m.parameters()))(1),
        TypeError,
        r"write step\(x, y\)",
    ),
    (
        "all frozen",
        lambda m: TrainingStep(m.freeze(), nn.CrossEntropyLoss(), optim.SGD(m.parameters()))(*points()),
        RuntimeError,
        "was not recorded.*every parameter frozen",
    ),
    (
        "not reduced",
        lambda m: TrainingStep(m, nn.CrossEntropyLoss(reduction="none"), optim.SGD(m.parameters()))(*points()),
        TypeError,
        r"shape \(6,\).*one number",
    ),
]


@pytest.mark.parametrize(("make", "error", "message"), [row[1:] for row in ERRORS], ids=[row[0] for row in ERRORS])
def test_errors(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make(perceptron())

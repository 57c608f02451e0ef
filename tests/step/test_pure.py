"""The step as a pure function, run on real tensors, against the eager step: every optimizer, option and model."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from modgrad import nn, optim
from modgrad.step import TrainingStep
from modgrad.step.program import PureStep
from tests.step.models import Halving, perceptron, pictures, points, step_of_everything, step_of_points, twin
from tests.step.test_training import EXACT, every_optimizer

OPTIONS: list[dict[str, Any]] = [
    {},
    {"clip": 0.5},
    {"accumulate": 2},
    {"accumulate": 2, "clip": 0.5},
    {"fuse_update": True},
    {"accumulate": 2, "fuse_update": True},
]


def assert_pure_is_eager(step: TrainingStep, batches: list[Any]) -> None:
    """Run both, comparing after each step all that there is; what the pure one is given must not change."""
    for _ in range(step.accumulate):
        step(*batches[0])
    for batch in batches:
        new, loss = step.prepared(lambda batch=batch: pure(step, batch))
        torch.testing.assert_close(step(*batch), loss, **EXACT)
        state = step.state
        for kind in ("parameters", "buffers", "optimizer", "randomness"):
            assert new.get(kind, {}).keys() == state.get(kind, {}).keys()
            for name, tensor in state.get(kind, {}).items():
                torch.testing.assert_close(new[kind][name], tensor, **EXACT, msg=lambda m, n=name: f"{n}: {m}")
        for name, grad in new.get("gradients", {}).items():
            torch.testing.assert_close(grad, state["gradients"][name], **EXACT)


def pure(step: TrainingStep, batch: Any) -> Any:
    state = {kind: {name: x.clone() for name, x in named.items()} for kind, named in step.state.items()}
    before = {kind: {name: x.clone() for name, x in named.items()} for kind, named in state.items()}
    result = PureStep(step)(state, batch)
    for kind, named in before.items():
        for name, x in named.items():
            assert torch.equal(state[kind][name], x), f"{name} was changed"
    return result


@every_optimizer
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_everything(make: Any, options: dict[str, Any]) -> None:
    assert_pure_is_eager(step_of_everything(make, **options), [pictures(seed=i) for i in range(4)])


def test_in_evaluation_mode() -> None:
    step = step_of_everything(lambda p: optim.SGD(p, lr=0.1))
    step.model.eval()
    assert_pure_is_eager(step, [pictures(seed=i) for i in range(2)])


def test_groups_of_their_own_numbers() -> None:
    model = perceptron()
    groups = [
        {"params": model[0].parameters(), "lr": 0.1, "momentum": 0.9, "nesterov": True},
        {"params": model[2].parameters(), "weight_decay": 0.1, "maximize": True},
        {"params": model[4].parameters(), "lr": 0.0},
    ]
    step = TrainingStep(model, nn.CrossEntropyLoss(), optim.SGD(groups, lr=0.05))
    step.scheduler = Halving(step.optimizer)
    assert set(step.state["schedule"]) == {"0.lr", "0.momentum", "1.lr", "1.weight_decay", "2.lr"}
    before = model[4].weight.detach().clone()
    assert_pure_is_eager(step, [points(seed=i) for i in range(4)])
    assert torch.equal(model[4].weight.detach(), before)


def test_a_parameter_that_begins_later() -> None:
    """Adam counts the steps of each parameter by itself: what is trained later is corrected as in its first step."""
    step = step_of_points(lambda p: optim.Adam(p, lr=0.01))
    step.model[2].freeze()
    step(*points())
    step.model[2].unfreeze()
    assert_pure_is_eager(step, [points(seed=i) for i in range(3)])


class Sign(optim.Optimizer):
    """One with `update` only: without state, in place."""

    def __init__(self, params: Any, lr: float = 0.1) -> None:
        super().__init__(params, lr=lr)

    def update(self, params: Any, grads: Any, states: Any, group: Any) -> None:
        for param, grad in zip(params, grads, strict=True):
            param.sub_(group["lr"] * grad.sign())


class Averaging(optim.Optimizer):
    """One that keeps a mean and a count, changed in place."""

    def __init__(self, params: Any, lr: float = 0.1) -> None:
        super().__init__(params, lr=lr)

    def initial(self, param: Any, group: Any) -> Any:
        return {"mean": torch.zeros_like(param), "count": torch.zeros(())}

    def update(self, params: Any, grads: Any, states: Any, group: Any) -> None:
        for param, grad, state in zip(params, grads, states, strict=True):
            for key, value in self.initial(param, group).items():
                state.setdefault(key, value)
            state["count"].add_(1)
            state["mean"].add_((grad - state["mean"]) / state["count"])
            param.sub_(group["lr"] * state["mean"])


@pytest.mark.parametrize("kind", [Sign, Averaging])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_own_optimizers(kind: Any, options: dict[str, Any]) -> None:
    step = step_of_points(kind, **options)
    state = step.state  # asking for it must not change what an optimizer does
    assert_pure_is_eager(step, [points(seed=i) for i in range(4)])
    if kind is Averaging:
        assert state["optimizer"]["0.weight.count"] == (4 + step.accumulate) // step.accumulate  # changed in place


def test_asking_for_the_state_changes_no_step() -> None:
    for make in (Averaging, optim.Adam, lambda p: optim.SGD(p, momentum=0.9)):
        step = step_of_points(make)
        other = twin(step)
        _ = other.state
        for i in range(3):
            step(*points(seed=i))
            other(*points(seed=i))
        for mine, theirs in zip(step.parameters().values(), other.parameters().values(), strict=True):
            assert torch.equal(mine.detach(), theirs.detach())


class Counting(nn.Module):
    """One that assigns its buffer anew, instead of changing it in place."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = nn.Buffer(torch.zeros((), dtype=torch.float64))

    def forward(self, x: Any) -> Any:
        self.calls = self.calls + 1
        return x * self.calls


@pytest.mark.parametrize("recomputed", [False, True])
def test_a_buffer_assigned_anew(recomputed: bool) -> None:
    model = perceptron()
    model.append(nn.recompute(Counting(), recomputed))
    assert_pure_is_eager(
        TrainingStep(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.1)),
        [points(seed=i) for i in range(3)],
    )
    assert model[5].calls == 4


class Growing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.seen = nn.Buffer(torch.zeros(1, dtype=torch.float64))

    def forward(self, x: Any) -> Any:
        self.seen = torch.cat([self.seen, self.seen])
        return x


class Late(optim.Optimizer):
    """One that makes its state when it is first needed, and does not say so."""

    def __init__(self, params: Any, number: bool) -> None:
        super().__init__(params, number=number)

    def update(self, params: Any, grads: Any, states: Any, group: Any) -> None:
        for param, grad, state in zip(params, grads, states, strict=True):
            if group["number"]:
                state["count"] = state.get("count", 0) + 1
            else:
                state["mean"] = state.get("mean", torch.zeros_like(param)) + grad


def late(number: bool) -> Any:
    return lambda m: TrainingStep(m, nn.CrossEntropyLoss(), Late(m.parameters(), number))


ERRORS: list[tuple[str, Any, str]] = [
    (
        "growing buffer",
        lambda m: TrainingStep(m.append(Growing()), nn.CrossEntropyLoss(), optim.SGD(m.parameters())),
        r"5.seen was Tensor of shape \(1,\).*shape \(2,\).*keep shape",
    ),
    ("late state", late(False), r"'mean' of 0.weight in the first update.*take one step first, or write `initial`"),
    ("a number as state", late(True), "keeps 'count' of 0.weight as int.*make it a tensor"),
]


@pytest.mark.parametrize(("make", "message"), [row[1:] for row in ERRORS], ids=[row[0] for row in ERRORS])
def test_errors(make: Any, message: str) -> None:
    step = make(perceptron())
    with pytest.raises(RuntimeError, match=message):
        pure(step, points())


def test_late_state_is_there_after_a_step() -> None:
    step = late(False)(perceptron())
    step(*points())
    assert_pure_is_eager(step, [points(seed=1)])


def test_state_holds_the_owners_own_tensors() -> None:
    step = step_of_everything(optim.Adam)
    state = step.state
    pointers = {name: p.data_ptr() for name, p in step.parameters().items()}
    assert {name: p.data_ptr() for name, p in state["parameters"].items()} == pointers
    assert all(type(x) is Tensor for named in state.values() for x in named.values())
    assert set(state["buffers"]) == {"norm.running_mean", "norm.running_var", "norm.num_batches_tracked"}
    assert "criterion.linear.weight" not in state["parameters"]  # it is embedding.weight

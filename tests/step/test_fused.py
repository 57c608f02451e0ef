"""fuse_update: each parameter updated within the walk, so that the gradients never all exist."""

from __future__ import annotations

from typing import Any
from weakref import ref

import pytest
import torch

from modgrad import nn, optim
from modgrad.step import TrainingStep
from tests.step.models import Halving, assert_same, pictures, step_of_everything, twin
from tests.step.test_training import every_optimizer


@every_optimizer
@pytest.mark.parametrize("accumulate", [1, 3])
def test_the_same_as_updating_afterwards(make: Any, accumulate: int) -> None:
    step = step_of_everything(make, accumulate=accumulate, fuse_update=True)
    other = twin(step)
    other.fuse_update = False
    step.scheduler, other.scheduler = Halving(step.optimizer), Halving(other.optimizer)
    for i in range(6):
        step(*pictures(seed=i))
        other(*pictures(seed=i))
        assert_same(step, other)


def test_a_count_of_steps_stays_one_for_all() -> None:
    step = step_of_everything(optim.Adam, fuse_update=True)
    for _ in range(3):
        step(*pictures())
    counts = {id(memory["step"]) for memory in step.optimizer.state.values() if memory}
    assert len(counts) == 1


class Watching(optim.SGD):
    """Notes how many gradients of parameters live whenever one is used."""

    def __init__(self, params: Any) -> None:
        super().__init__(params, lr=0.01)
        self.seen: list[Any] = []
        self.most = 0

    def update(self, params: Any, grads: Any, states: Any, group: Any) -> None:
        self.seen += [ref(grad) for grad in grads]
        waiting = [p.grad for g in self.param_groups for p in g["params"] if p.grad is not None]
        alive = {id(grad) for grad in [*waiting, *(r() for r in self.seen)] if grad is not None}
        self.most = max(self.most, len(alive))
        super().update(params, grads, states, group)


@pytest.mark.parametrize(("fuse", "most"), [(True, 2), (False, 40)])
def test_how_many_gradients_live_at_once(fuse: bool, most: int) -> None:
    """A layer gives its weight's gradient and its bias's at once: two of forty."""
    model = nn.Sequential(*[layer for _ in range(20) for layer in (nn.Linear(4, 4), nn.Tanh())])
    optimizer = Watching(model.parameters())
    step = TrainingStep(model, nn.MSELoss(), optimizer, fuse_update=fuse)
    for _ in range(2):
        step(torch.randn(3, 4), torch.randn(3, 4))
    assert optimizer.most == most


def test_a_traced_step_updates_in_between_too() -> None:
    model = nn.Sequential(*[nn.Linear(4, 4) for _ in range(4)])
    step = TrainingStep(model, nn.MSELoss(), optim.Adam(model.parameters()), fuse_update=True)
    names = [node.name for node in step.trace(torch.randn(3, 4), torch.randn(3, 4)).graph.nodes]
    for later, earlier in ((3, 2), (2, 1), (1, 0)):
        assert names.index(f"new_parameters_{later}_weight") < names.index(f"grad_{earlier}_weight")

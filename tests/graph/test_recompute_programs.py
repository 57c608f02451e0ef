"""recompute in traced programs, beside Randomness, and in training steps."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from modgrad import nn, optim
from modgrad.graph.randomness import Randomness
from modgrad.graph.tracing import Tracing, substituted
from modgrad.graph.walk import backward
from modgrad.step import TrainingStep
from tests.graph.test_recompute import Block, Doubled, assert_the_same, mark_blocks, updated


def traced_step(model: nn.Module) -> Any:
    def run(state: dict[str, Tensor], x: Tensor) -> Any:
        with Tracing(), substituted(model, state) as parameters:
            leaf = nn.Variable(x)
            loss = (model(leaf) * x).sum()
            loss.backward()
            wanted = [parameters[name].grad_v for name, _ in model.named_parameters()]
            return [loss, leaf.grad_v, *wanted, *(state[name] for name, _ in model.named_buffers())]

    return run


class Norms(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.twice = nn.BatchNorm2d(4), nn.recompute(Doubled())
        self.inner = nn.recompute(nn.Sequential(nn.Linear(4, 4), nn.Tanh()))

    def forward(self, x: Any) -> Any:
        return self.inner(self.twice(self.norm(x[:, :, None, None])).flatten(1)) * x.mean() + x


def expected(model: nn.Module, x: Tensor) -> list[Tensor]:
    leaf = nn.Variable(x)
    loss = (model(leaf) * x).sum()
    loss.backward()
    return [loss.detach(), leaf.grad_v, *(p.grad_v for p in model.parameters()), *model.buffers()]


def test_traced_with_make_fx() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.recompute(Norms()), nn.Linear(4, 4))
    state, x = {n: v.clone() for n, v in model.state_dict().items()}, torch.randn(5, 4)
    program = make_fx(traced_step(model), tracing_mode="fake")({n: v.clone() for n, v in state.items()}, x)
    for mine, theirs in zip(program(state, x), expected(copy.deepcopy(model), x), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_exported_with_a_dynamic_batch() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.recompute(nn.Sequential(nn.Linear(4, 4), nn.recompute(Doubled()))))
    step = traced_step(model)

    class Step(torch.nn.Module):
        def forward(self, state: dict[str, Tensor], x: Tensor) -> Any:
            return step(state, x)

    batch = torch.export.Dim("batch", min=2, max=50)
    state, x = model.state_dict(), torch.randn(5, 4)
    shapes = {"state": dict.fromkeys(state), "x": {0: batch}}
    program = torch.export.export(Step(), (state, x), dynamic_shapes=shapes, strict=False).module()
    for rows in (5, 3):
        model.zero_grad()
        for mine, theirs in zip(program(state, x[:rows]), expected(model, x[:rows]), strict=True):
            torch.testing.assert_close(mine, theirs)


def test_random_numbers_in_a_traced_program() -> None:
    model, x = nn.Sequential(nn.Linear(4, 4), nn.recompute(Block())), torch.randn(5, 4)
    with pytest.raises(RuntimeError, match="draws random numbers by .* while it is traced"):
        make_fx(traced_step(model), tracing_mode="fake")(model.state_dict(), x)
    results = []
    for on in (True, False):
        nn.recompute(model[1], on)

        def run(seed: Tensor, state: dict[str, Tensor], x: Tensor) -> Any:
            with Randomness(seed) as randomness:
                found = traced_step(model)(state, x)
            assert randomness.mark() == 1
            return found

        arguments = torch.tensor([7, 0]), model.state_dict(), x
        results.append(make_fx(run, tracing_mode="fake")(*arguments)(*arguments))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)


def test_randomness_of_a_step_outside_of_tracing() -> None:
    """What was drawn from in forward is drawn from again, whatever is active around backward."""

    def use(model: Any) -> list[Any]:
        x = nn.Variable(torch.ones(5, 4))
        with Randomness(torch.tensor([7, 0])) as randomness:
            loss = model(x).square().sum()
            end = randomness.mark()
        with Randomness(torch.tensor([8, 0])) as other:
            loss.backward()
        assert (randomness.mark(), other.mark()) == (end, 0)
        return [x.grad_v]

    assert_the_same(nn.Sequential(Block(), nn.Tanh(), Block()), mark_blocks, use)


# Updates during the walk


def test_arrivals() -> None:
    """A parameter is complete when the blocks that share it have run again, and not before."""
    block, last = Block(inner=nn.recompute(nn.Sequential(nn.Linear(4, 4)))), nn.Linear(4, 4)
    last.weight = block.body[0].weight
    model = nn.Sequential(nn.Linear(4, 4), nn.recompute(block), nn.recompute(block), last)
    x = torch.randn(5, 4)
    torch.manual_seed(1)
    model(x).sum().backward()
    complete = {name: p.grad_v for name, p in model.named_parameters()}
    model.zero_grad()
    names = {id(p): name for name, p in model.named_parameters()}
    arrived: list[str] = []

    def check(parameter: Any) -> None:
        arrived.append(names[id(parameter)])
        assert torch.equal(parameter.grad_v, complete[arrived[-1]])
        updated(parameter)  # what needs it afterwards would find it changed

    torch.manual_seed(1)
    backward(model(x).sum(), None, retain=False, arrived=check)
    assert sorted(arrived) == sorted(complete)
    assert arrived.index("3.bias") < arrived.index("1.body.0.bias") < arrived.index("0.bias")


@pytest.mark.parametrize("fuse_update", [False, True])
def test_training_step(fuse_update: bool) -> None:
    """Updates after the walk and within it, with marks and without: the same losses."""
    losses = []
    for marked in (False, True):
        torch.manual_seed(2)
        model = network(marked)
        optimizer = optim.Adam(model.parameters())
        step = TrainingStep(model, nn.CrossEntropyLoss(), optimizer, fuse_update=fuse_update)
        losses.append([float(step(torch.ones(6, 4), torch.tensor([0, 1, 2, 2, 1, 0]))) for _ in range(4)])
    assert losses[0] == losses[1]


@pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:FutureWarning")  # PyTorch's own, in .module()
def test_traced_training_step() -> None:
    """As a program with a free batch size: the same new state, marked or not."""
    x, target = torch.randn(6, 4), torch.tensor([0, 1, 2, 2, 1, 0])
    results = []
    for marked in (False, True):
        model = network(marked).eval()
        step = TrainingStep(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.1))
        program = step.trace(x, target).module()
        results.append(program(step.state, (x[:3], target[:3])))
    torch.testing.assert_close(results[0], results[1])


def network(marked: bool) -> nn.Module:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 4), Block(), nn.GELU(), Block(), nn.LayerNorm(4), nn.Linear(4, 3))
    if marked:
        mark_blocks(model)
        nn.recompute(model[2])
        nn.recompute(model[4])
    return model

"""Autocast in what runs again, and in traced programs: casts are those of the first run."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from modgrad import nn
from modgrad.graph.tracing import Tracing, substituted
from tests.graph.autocast_models import LOW, MODELS, Attention, assert_equal, gradients, twins

# Recomputation: the second run is cast as the first was


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("backward_inside", [False, True], ids=["outside", "inside"])
def test_recomputed_composite(name: str, backward_inside: bool) -> None:
    model, _, x, target = twins(name)
    model.eval()  # BatchNorm's running statistics would move
    expected = gradients(model, x, target)
    nn.recompute(model)
    model.zero_grad()
    region = nn.autocast("cpu", LOW)
    with region:
        loss = nn.CrossEntropyLoss()(model(x), target)
    if backward_inside:
        with nn.autocast("cpu", torch.float16):
            loss.backward()
    else:
        loss.backward()
    assert_equal({name: p.grad_v for name, p in model.named_parameters()}, expected)
    # And what was not cast is not cast either when it runs again inside a region.
    model.zero_grad()
    loss = nn.CrossEntropyLoss()(model(x), target)
    with region:
        loss.backward()
    inside = {name: p.grad_v.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    nn.CrossEntropyLoss()(model(x), target).backward()
    assert_equal(inside, {name: p.grad_v for name, p in model.named_parameters()})


def test_recomputed_composite_of_operators_on_plain_tensors() -> None:
    model, x = Attention(), torch.randn(2, 3, 4)
    model.q.freeze()
    model.k.freeze()
    results = []
    for marked in (False, True):
        model.zero_grad()
        nn.recompute(model, marked)
        with nn.autocast("cpu", LOW):
            y = model(x)
        y.backward(torch.ones_like(y))
        results.append({name: p.grad_v for name, p in model.v.named_parameters()})
    assert_equal(*results)


def test_recomputed_primitive() -> None:
    """One that is cast itself, and one whose value a cast product would have kept."""
    model = nn.Sequential(nn.Linear(4, 4), nn.PReLU(), nn.Linear(4, 4), nn.GELU(), nn.Linear(4, 2))
    x = torch.randn(3, 4)

    def run() -> dict[str, Tensor]:
        model.zero_grad()
        with nn.autocast("cpu", LOW):
            y = model(x)
        y.float().sum().backward()
        return {name: p.grad_v.clone() for name, p in model.named_parameters()}

    expected = run()
    for i in (1, 3):
        nn.recompute(model[i])
    assert_equal(run(), expected)


# Tracing


@pytest.mark.parametrize("name", MODELS)
def test_traced_program_casts_the_same(name: str) -> None:
    model, _, x, target = twins(name)
    model.eval()
    expected = gradients(model, x, target)
    state = {name: value.clone() for name, value in model.state_dict().items()}

    def step(state: dict[str, Tensor], x: Tensor, target: Tensor) -> list[Any]:
        with Tracing(), substituted(model, state) as own:
            with nn.autocast("cpu", LOW):
                loss = nn.CrossEntropyLoss()(model(x), target)
            loss.backward()
            return [own[name].grad_v for name in expected]

    program = make_fx(step, tracing_mode="fake")(state, x, target)
    for gradient, other in zip(program(state, x, target), expected.values(), strict=True):
        torch.testing.assert_close(gradient, other, rtol=2**-7, atol=1e-5)
    casts = [node for node in program.graph.nodes if node.kwargs.get("dtype") is LOW]
    assert casts


def test_traced_frozen_parts_are_cast_too() -> None:
    """PyTorch's autocast does not show in a trace; modgrad stands in for it where all tensors are plain."""
    model, x = Attention().freeze(), torch.randn(2, 3, 4)
    with nn.autocast("cpu", LOW):
        expected = model(x)

    def run(state: dict[str, Tensor], x: Tensor) -> Tensor:
        with Tracing(), substituted(model, state), nn.autocast("cpu", LOW):
            return model(x)

    state = {name: value.clone() for name, value in model.state_dict().items()}
    traced = make_fx(run, tracing_mode="fake")(state, x)(state, x)
    assert traced.dtype == LOW
    assert torch.equal(traced, expected)


def test_ambient_region_is_traced_without_pytorchs_own_casts() -> None:
    layer, x = nn.Linear(2, 2).freeze(), torch.randn(3, 2)
    state = {name: value.clone() for name, value in layer.state_dict().items()}

    def run(state: dict[str, Tensor], x: Tensor) -> Tensor:
        with Tracing(), substituted(layer, state):
            return torch.softmax(layer(x).float(), -1) @ layer(x).T

    with nn.autocast("cpu", LOW):
        program = make_fx(run, tracing_mode="fake")(state, x)
    assert program(state, x).dtype == LOW

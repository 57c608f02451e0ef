"""Steps in mixed precision: eagerly, as pure functions, and compiled."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from modgrad import nn, optim
from modgrad.step import TrainingStep
from modgrad.step.binding import Binding
from modgrad.step.dryrun import dry_run
from modgrad.step.program import PureStep
from tests.step.models import assert_same, pictures, points, step_of_everything, step_of_points, twin

FLOAT32, LOW = torch.float32, torch.bfloat16
OPTIONS: list[dict[str, Any]] = [{}, {"clip": 0.5}, {"accumulate": 2}, {"fuse_update": True}]


def sgd(parameters: Any) -> optim.Optimizer:
    return optim.SGD(parameters, lr=0.05, momentum=0.9)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_step_is_the_loop(options: dict[str, Any]) -> None:
    """Model and criterion in a region, and nothing else; the same as where the call finds one."""
    step = step_of_everything(sgd, FLOAT32, autocast=LOW, **options)
    ambient = step_of_everything(sgd, FLOAT32, **options)
    assert_same(ambient, step)
    for i in range(4):
        loss = step(*pictures(6, FLOAT32, i))
        with nn.autocast("cpu", LOW):
            assert torch.equal(ambient(*pictures(6, FLOAT32, i)), loss)
    assert_same(ambient, step)
    assert {p.dtype for p in step.parameters().values()} == {FLOAT32}
    exact = step_of_everything(sgd, FLOAT32, **options)
    for i in range(4):
        exact(*pictures(6, FLOAT32, i))
    for name, p in step.parameters().items():  # near what it is without, and not the same
        torch.testing.assert_close(p.data, exact.parameters()[name].data, rtol=0.1, atol=0.03)
    assert any(not torch.equal(p.data, exact.parameters()[name].data) for name, p in step.parameters().items())


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_pure_step_is_the_eager_one(options: dict[str, Any]) -> None:
    step = step_of_everything(sgd, FLOAT32, autocast=LOW, **options)
    for i in range(4):
        batch = pictures(6, FLOAT32, i)
        state = {kind: {name: x.clone() for name, x in named.items()} for kind, named in step.state.items()}
        new, loss = PureStep(step)(state, batch)
        assert torch.equal(step(*batch), loss)
        for kind in ("parameters", "buffers", "optimizer"):
            for name, tensor in step.state[kind].items():
                torch.testing.assert_close(new[kind][name], tensor, rtol=1e-6, atol=1e-7, msg=name)


def test_evaluation_is_in_the_region_too() -> None:
    step = step_of_points(sgd, FLOAT32, autocast=LOW)
    with nn.autocast("cpu", LOW), nn.no_grad():
        x, y = points(6, FLOAT32)
        expected = step.criterion(step.model(x), y)
    assert torch.equal(step.evaluate(x, y), expected)


def lines(step: TrainingStep, batch: Any) -> list[str]:
    return dry_run(step.names(), PureStep(step), step.state, batch)[0]


def test_dry_runs_differ() -> None:
    """What a compiled program is looked up by has the casts in it, said or found."""
    batch = points(6, FLOAT32)
    plain, said = (lines(step_of_points(sgd, FLOAT32, autocast=dtype), batch) for dtype in (None, LOW))
    with nn.autocast("cpu", LOW):
        found = lines(step_of_points(sgd, FLOAT32), batch)
        torch_told = torch.is_autocast_enabled("cpu")
    assert said == found != plain
    assert torch_told
    assert any("bfloat16" in line for line in said)
    assert not any("bfloat16" in line for line in plain)


def test_binding_holds_in_the_region_that_it_was_made_in() -> None:
    step = step_of_points(sgd, FLOAT32)
    binding = Binding(step)
    assert binding.holds()
    with nn.autocast("cpu", LOW):
        assert not binding.holds()
        inside = Binding(step)
        assert inside.holds()
    assert binding.holds()
    assert not inside.holds()
    with nn.autocast("cpu", LOW):
        assert inside.holds()
    step.autocast = LOW
    assert not binding.holds()


def test_listing_says_where_the_casts_are() -> None:
    step = step_of_points(sgd, FLOAT32, autocast=LOW)
    exported = step.trace(*points(6, FLOAT32))
    assert "bf16" in str(step.program)
    state, loss = exported.module()(step.state, points(6, FLOAT32))
    torch.testing.assert_close(loss, step(*points(6, FLOAT32)), rtol=2**-7, atol=1e-3)
    for name, value in step.state["parameters"].items():
        torch.testing.assert_close(state["parameters"][name], value, rtol=2**-6, atol=1e-3)


@pytest.mark.xdist_group("compiled")
def test_compiled() -> None:
    """One program under autocast, another without; the compiler keeps more digits between operations."""
    step = step_of_points(sgd, FLOAT32, autocast=LOW)
    other = twin(step)
    compiled = other.compile()
    for i in range(10):
        batch = points(8, FLOAT32, i)
        torch.testing.assert_close(compiled(*batch), step(*batch), rtol=2**-6, atol=1e-2)
    for name, p in other.parameters().items():
        torch.testing.assert_close(p.data, step.parameters()[name].data, rtol=2**-5, atol=2e-2)
    assert compiled.compilations + compiled.loaded == 1


def test_float16_is_refused() -> None:
    with pytest.raises(ValueError, match=r"an optim.GradScaler"):
        step_of_points(sgd, FLOAT32, autocast=torch.float16)
    step = step_of_points(sgd, FLOAT32)
    with nn.autocast("cpu", torch.float16), pytest.raises(RuntimeError, match=r"an optim.GradScaler"):
        step(*points(6, FLOAT32))
    with pytest.raises(ValueError, match="expected torch.bfloat16"):
        step_of_points(sgd, FLOAT32, autocast=FLOAT32)


@pytest.mark.xdist_group("compiled")
def test_compiled_inside_of_a_region() -> None:
    """PyTorch's casts stay out of a program, as modgrad's are in it already."""
    step = step_of_points(sgd, FLOAT32)
    compiled = twin(step).compile()
    batch = points(7, FLOAT32)
    with torch.autocast("cpu", LOW):
        with pytest.raises(RuntimeError, match=r"TrainingStep was called inside torch.autocast, .* nn.autocast"):
            compiled(*batch)
        exported = twin(step).trace(*batch)
    assert "bf16" not in str(exported.graph_module.code)
    with nn.autocast("cpu", LOW):
        loss = compiled(*batch)
    torch.testing.assert_close(loss, twin(step)(*batch), rtol=2**-6, atol=1e-2)
    with torch.autocast("cpu", LOW), pytest.raises(RuntimeError, match="inside torch.autocast"):
        compiled(*batch)

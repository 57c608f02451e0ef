"""GradScaler, held to PyTorch's over whole trainings, with its own optimizers and modgrad's."""

from __future__ import annotations

import copy
import math
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch

from modgrad import nn, optim

Theirs = torch.amp.GradScaler


def pair(**arguments: Any) -> tuple[optim.GradScaler, Any]:
    return optim.GradScaler("cpu", **arguments), Theirs("cpu", **arguments)


def models() -> tuple[nn.Module, torch.nn.Module]:
    def make(n: Any) -> Any:
        return n.Sequential(n.Linear(3, 8), n.Tanh(), n.Linear(8, 2))

    twin = make(torch.nn)
    model = make(nn)
    model.load_state_dict(twin.state_dict())
    return model, twin


def spoil(parameters: Any, value: float) -> None:
    first = next(iter(parameters))
    with torch._C.DisableTorchFunctionSubclass():
        first.grad.view(-1)[0] = value


OPTIMIZERS: list[tuple[Callable[[Any], Any], Callable[[Any], Any]]] = [
    (lambda p: optim.SGD(p, lr=0.1, momentum=0.9), lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9)),
    (lambda p: optim.AdamW(p, lr=0.01), lambda p: torch.optim.AdamW(p, lr=0.01)),
]


@pytest.mark.parametrize("clip", [None, 0.5], ids=["", "clipped"])
@pytest.mark.parametrize(("ours", "theirs"), OPTIMIZERS, ids=["SGD", "AdamW"])
def test_training_is_pytorchs(ours: Any, theirs: Any, clip: float | None) -> None:
    """Ten steps, those left out whose gradients are not finite: the same parameters and scale after each."""
    model, twin = models()
    optimizer, other = ours(model.parameters()), theirs(twin.parameters())
    # Not powers of 2: the gradients are rounded when they are divided, the same way in both.
    scaler, its = pair(init_scale=1000.0, growth_factor=3.0, backoff_factor=0.3, growth_interval=3)
    left_out = 0
    for i in range(10):
        x, y = torch.randn(4, 3), torch.randn(4, 2)
        bad = {2: math.inf, 3: math.nan, 7: -math.inf}.get(i)
        optimizer.zero_grad()
        other.zero_grad()
        scaler.scale(nn.MSELoss()(model(x), y)).backward()
        its.scale(torch.nn.MSELoss()(twin(x), y)).backward()
        if bad is not None:
            spoil(model.parameters(), bad)
            spoil(twin.parameters(), bad)
        if clip is not None:
            scaler.unscale_(optimizer)
            its.unscale_(other)
            optim.clip_grad_norm_(model.parameters(), clip)
            torch.nn.utils.clip_grad_norm_(twin.parameters(), clip)
        before = [p.data.clone() for p in model.parameters()]
        scaler.step(optimizer)
        its.step(other)
        if bad is not None:
            left_out += 1
            assert all(torch.equal(p.data, q) for p, q in zip(model.parameters(), before, strict=True))
        scaler.update()
        its.update()
        assert scaler.get_scale() == its.get_scale()
        assert scaler.state_dict() == its.state_dict()
        for p, q in zip(model.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(p.data, q.detach(), rtol=1e-5, atol=1e-6)
    assert left_out == 3


def test_float16_trains() -> None:
    """What autocast and the scaler are for: gradients that float16 alone would round to 0."""
    model, _ = models()
    scaler = optim.GradScaler("cpu", init_scale=2.0**16)
    optimizer = optim.SGD(model.parameters(), lr=1.0)
    x, y = torch.randn(8, 3), torch.randn(8, 2)

    def loss() -> Any:
        with nn.autocast("cpu", torch.float16):
            return nn.MSELoss()(model(x), y) * 1e-6

    loss().backward()
    alone = model[0].weight.grad_v
    assert alone is not None
    model.zero_grad()
    scaler.scale(loss()).backward()
    scaler.unscale_(optimizer)
    scaled = model[0].weight.grad_v
    assert scaled is not None
    optimizer.zero_grad()
    (nn.MSELoss()(model(x), y) * 1e-6).backward()
    exact = model[0].weight.grad_v
    assert float((scaled - exact).norm()) < 0.01 * float(exact.norm())
    assert float((alone - exact).norm()) > 0.1 * float(exact.norm())


def test_pytorchs_scaler_takes_our_optimizer_and_ours_takes_theirs() -> None:
    weight = nn.Parameter(torch.ones(3))
    theirs = Theirs("cpu", init_scale=8.0)
    optimizer: Any = optim.SGD([weight], lr=1.0)
    theirs.scale((weight * weight).sum()).backward()
    theirs.step(optimizer)
    theirs.update()
    assert torch.equal(weight.data, -torch.ones(3))
    weight.grad_v = None
    scaler = optim.GradScaler("cpu", init_scale=8.0)
    scaler.scale((weight * weight).sum()).backward()
    scaler.step(torch.optim.SGD([weight], lr=1.0))
    assert torch.equal(weight.data, torch.ones(3))


def test_several_losses_and_optimizers() -> None:
    a, b = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    first, second = optim.SGD([a], lr=1.0), optim.SGD([b], lr=1.0)
    scaler = optim.GradScaler("cpu", init_scale=4.0)
    losses = scaler.scale([(a * a).sum(), (b * 3).sum()])
    assert isinstance(losses, list)
    assert scaler.scale(((a * a).sum(),))[0].item() == 8.0
    for loss in losses:
        loss.backward()
    spoil([b], math.inf)
    scaler.step(first)
    scaler.step(second)
    scaler.update()
    assert torch.equal(a.data, -torch.ones(2))  # its gradients were finite
    assert torch.equal(b.data, torch.ones(2))
    assert scaler.get_scale() == 2.0


def test_sparse_gradients() -> None:
    rows = nn.Parameter(torch.ones(4, 2))
    indices, values = torch.tensor([[1, 1]]), torch.full((2, 2), 4.0)
    rows.grad_v = torch.sparse_coo_tensor(indices, values, (4, 2), check_invariants=True)
    scaler = optim.GradScaler("cpu", init_scale=4.0)
    scaler.scale(nn.Variable(torch.tensor(1.0)))
    scaler.unscale_(optim.SparseAdam([rows], lr=1.0))
    assert torch.equal(rows.grad_v.to_dense()[1], torch.full((2,), 2.0))


def test_state_goes_from_one_to_the_other() -> None:
    scaler, theirs = pair(init_scale=64.0, growth_factor=4.0, backoff_factor=0.25, growth_interval=7)
    its = Theirs("cpu")
    its.load_state_dict(scaler.state_dict())
    assert its.state_dict() == scaler.state_dict()
    mine = optim.GradScaler("cpu")
    mine.scale(nn.Variable(torch.tensor(1.0)))  # once begun, the tensors take it over
    mine.load_state_dict(theirs.state_dict())
    assert mine.state_dict() == theirs.state_dict()
    assert pickle.loads(pickle.dumps(mine)).state_dict() == mine.state_dict()
    assert copy.deepcopy(mine).get_scale() == 64.0
    for name, value in [("growth_factor", 8.0), ("backoff_factor", 0.1), ("growth_interval", 3)]:
        getattr(mine, f"set_{name}")(value)
        assert getattr(mine, f"get_{name}")() == value


def test_new_scale() -> None:
    scaler = optim.GradScaler("cpu", init_scale=4.0)
    scaler.scale(nn.Variable(torch.tensor(1.0)))
    scaler.update(16.0)
    assert scaler.get_scale() == 16.0
    scaler.update(torch.tensor([2.0]))
    assert scaler.get_scale() == 2.0
    with pytest.raises(ValueError, match="one number"):
        scaler.update(torch.ones(2))


def test_scale_does_not_grow_to_infinity() -> None:
    weight = nn.Parameter(torch.zeros(1))
    scaler, optimizer = optim.GradScaler("cpu", init_scale=2.0**127, growth_interval=1), optim.SGD([weight], lr=1.0)
    scaler.scale((weight * 0).sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 2.0**127


def test_disabled_does_nothing() -> None:
    weight = nn.Parameter(torch.ones(2))
    scaler, optimizer = optim.GradScaler("cpu", enabled=False), optim.SGD([weight], lr=1.0)
    loss = weight.sum()
    assert scaler.scale(loss) is loss
    loss.backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    assert torch.equal(weight.data, torch.zeros(2))
    assert (scaler.get_scale(), scaler.state_dict(), scaler.is_enabled()) == (1.0, {}, False)
    scaler.load_state_dict({})


def test_without_a_gpu_it_warns_and_does_nothing() -> None:
    if torch.cuda.is_available():
        assert optim.GradScaler().is_enabled()
        return
    with pytest.warns(UserWarning, match="no such device"):
        scaler = optim.GradScaler()
    assert not scaler.is_enabled()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optim.GradScaler(enabled=False)


def test_what_is_refused() -> None:
    weight = nn.Parameter(torch.ones(2))
    scaler, optimizer = optim.GradScaler("cpu"), optim.SGD([weight], lr=1.0)
    for method in (scaler.unscale_, scaler.step):
        with pytest.raises(RuntimeError, match="no loss has been scaled"):
            method(optimizer)
    with pytest.raises(RuntimeError, match="no loss has been scaled"):
        scaler.update()
    scaler.scale(weight.sum()).backward()
    with pytest.raises(RuntimeError, match="nothing was stepped"):
        scaler.update()
    scaler.unscale_(optimizer)
    with pytest.raises(RuntimeError, match="divided twice"):
        scaler.unscale_(optimizer)
    with pytest.raises(RuntimeError, match="not between a step and its update"):
        pickle.dumps(scaler)
    scaler.step(optimizer)
    with pytest.raises(RuntimeError, match="since the last update"):
        scaler.step(optimizer)
    with pytest.raises(RuntimeError, match="divided twice"):
        scaler.unscale_(optimizer)
    scaler.update()
    optimizer.zero_grad()
    with pytest.raises(RuntimeError, match="no parameter of this SGD has a gradient"):
        scaler.step(optimizer)
    for closure in ({"closure": float}, {}):
        with pytest.raises(RuntimeError, match="closure"):
            scaler.step(optimizer, *([] if closure else [float]), **closure)
    half = nn.Parameter(torch.ones(2, dtype=torch.float16))
    scaler.scale(half.sum()).backward()
    with pytest.raises(ValueError, match="keep parameters in float32"):
        scaler.unscale_(optim.SGD([half], lr=1.0))
    with pytest.raises(TypeError, match="expected a loss"):
        scaler.scale(1.0)
    with pytest.raises(RuntimeError, match="empty"):
        scaler.load_state_dict({})
    for wrong in ({"growth_factor": 1.0}, {"backoff_factor": 1.0}):
        with pytest.raises(ValueError, match="expected a number"):
            optim.GradScaler("cpu", **wrong)
    with pytest.raises(ValueError, match="expected 'cuda' or 'cpu'"):
        optim.GradScaler("tpu")

"""Variables, and the record: what is kept."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from modgrad import nn
from modgrad.graph.tracing import Tracing
from tests.graph.primitives import Square

# Variables


def test_questions_are_answered_with_plain_values() -> None:
    v = nn.Variable(torch.tensor([[1.0, 3.0], [2.0, -1.0]])) * 1
    for answer in (
        v.argmax(),
        v.argmax(1),
        v > 0,
        v == v,
        v.isnan(),
        v.detach(),
        v.data,
        torch.zeros_like(v),
        v.sign(),
    ):
        assert type(answer) is Tensor
    assert v.shape == (2, 2)
    assert v.dtype is torch.float32
    assert v.device.type == "cpu"
    assert (v.dim(), v.ndim, v.numel(), len(v), v.size(0)) == (2, 2, 4, 2, 2)
    assert v.tolist() == [[1.0, 3.0], [2.0, -1.0]]
    assert isinstance(v.numpy(), np.ndarray)
    assert isinstance(np.asarray(v), np.ndarray)
    assert (v.sum().item(), float(v.sum()), int(v.sum()), bool(v.sum() > 0)) == (5.0, 5.0, 5, True)
    assert f"{v.sum():.2f}" == "5.00"
    assert torch.equal(v, v.detach())
    assert torch.allclose(v, v.detach())
    assert "previous_module=Mul()" in repr(v)
    assert str(v).startswith("Variable(tensor([[")
    assert v.is_contiguous()
    assert v.is_leaf
    assert v.grad_fn is None
    assert [float(row.sum()) for row in v] == [4.0, 1.0]
    assert isinstance(hash(v), int)
    assert (v.argmax(1) == torch.tensor([1, 0])).all()


def test_everything_float_that_comes_of_a_variable_is_a_variable() -> None:
    v = nn.Variable(torch.ones(2, 3))
    for made in (v + 1, 1 - v, v @ v.T, v[0], v.mean(), torch.cat([v, v]), v.double(), -v, v**2, 2**v, 1 / v, v.t()):
        assert type(made) is nn.Variable
    assert v.to(torch.float32) is v
    assert type(v.to(torch.int64)) is Tensor
    assert v.contiguous() is v


def test_a_leaf_shares_storage_and_accumulates() -> None:
    x = torch.ones(3)
    v = nn.Variable(x)
    assert v.detach().data_ptr() == x.data_ptr()
    assert (v.previous_module, v.previous_inputs, v.grad_v) == (None, (), None)
    for _ in range(2):
        Square()(v).sum().backward()
    assert torch.equal(v.grad_v, torch.full((3,), 4.0))
    v.backward(torch.ones(3))
    assert torch.equal(v.grad_v, torch.full((3,), 5.0))
    assert v.grad is v.grad_v
    v.grad_v = None
    assert v.grad is None
    assert nn.Variable([1.0, 2.0]).shape == (2,)


def test_parameters() -> None:
    p = nn.Parameter(torch.ones(2, 3))
    assert p.grad_f
    assert p.grad_v is None
    assert isinstance(p, torch.Tensor)
    assert type(p.data) is Tensor
    assert type(p * 2) is nn.Variable
    assert repr(p).startswith("Parameter(tensor([[1., 1., 1.]")
    assert "grad_f=False" in repr(nn.Parameter(torch.ones(1), grad_f=False))
    (p * 2).sum().backward()
    assert torch.equal(p.grad_v, torch.full((2, 3), 2.0))
    assert p.grad is p.grad_v
    p.grad_v = None
    assert p.grad is None
    p.data = torch.zeros(2, 3)
    assert not p.any()
    with torch.no_grad():
        p += 1
    assert type(p) is nn.Parameter
    assert p.all()
    p.data.add_(1)
    assert p.sum().item() == 12
    assert p.tolist() == [[2.0] * 3] * 2


# The record


def test_previous() -> None:
    square = Square()
    x = nn.Variable(torch.ones(3))
    p = nn.Parameter(torch.ones(3))
    held = square(x)
    plain = torch.full((3,), 2.0)
    y = held * p + plain
    assert type(y.previous_module).__name__ == "Add"
    product, constant = y.previous_inputs
    assert constant is plain
    assert product.device.type == "meta", "nobody held it"
    assert product.shape == (3,)
    assert product.previous_inputs[0] is held
    assert product.previous_inputs[1] is p
    assert held.previous_module is square
    assert held.previous_inputs == (x,) or held.previous_inputs[0] is x
    y.sum().backward()
    assert y.previous_inputs[0].previous_inputs[0] is held, "a graph can be walked after backward too"
    del plain, constant
    assert y.previous_inputs[1].device.type == "meta"
    power = x**3
    assert power.previous_inputs[1] == 3


def test_keep_values() -> None:
    x = nn.Variable(torch.full((3,), 2.0))
    with nn.keep_values():
        loss = Square()(Square()(x) * 3).sum()
    loss.backward()
    loss.backward()
    squared = loss.previous_inputs[0]
    inner = squared.previous_inputs[0]
    assert torch.equal(inner.detach(), torch.full((3,), 12.0))
    assert torch.equal(inner.grad_v, torch.full((3,), 48.0)), "2 * 12, twice"
    assert torch.equal(x.grad_v, torch.full((3,), 2 * 2 * 12 * 3 * 4.0))
    outside = Square()(x).sum()
    assert outside.previous_inputs[0].device.type == "meta"


def test_no_grad() -> None:
    x = nn.Variable(torch.ones(3))
    layer = nn.Linear(3, 2)

    @nn.no_grad()
    def evaluate() -> Any:
        return layer(x)

    assert type(evaluate()) is Tensor
    with nn.no_grad():
        assert type(x * 2) is Tensor
        assert type(layer.weight.sum()) is Tensor
    assert type(layer(x)) is nn.Variable
    found = []
    with nn.no_grad():
        thread = threading.Thread(target=lambda: found.append(type(layer(x))))
        thread.start()
        thread.join()
    assert found == [nn.Variable], "each thread has switches of its own"


def test_autograds_switches_change_nothing() -> None:
    layer = nn.Linear(3, 2)
    torch.set_grad_enabled(False)
    (layer(torch.ones(1, 3)).sum() + layer.weight.square().sum()).backward()
    expected = 1 + 2 * layer.weight.detach()
    torch.testing.assert_close(layer.weight.grad_v, expected, rtol=1e-6, atol=1e-6)


def test_nothing_to_train_leaves_no_record() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2))
    x = torch.ones(1, 3)
    model[0].freeze()
    y = model(x)
    (of_relu,) = y.previous_inputs
    assert type(of_relu) is Tensor, "what came before is plain"
    model.freeze()
    assert type(model(x)) is Tensor


def test_tracing_hangs_the_record_on_the_tensor() -> None:
    x = torch.ones(3)
    with Tracing():
        leaf = nn.Variable(x)
        assert type(leaf) is Tensor
        y = (Square()(leaf) * 2).sum()
        assert type(y) is Tensor
        y.backward()
        assert torch.equal(leaf.grad_v, torch.full((3,), 4.0))
        with pytest.raises(RuntimeError, match="has no derivative"):
            leaf.histc()
    assert type(nn.Variable(x)) is nn.Variable


def test_questions_of_form_are_answered_as_by_a_tensor() -> None:
    value = torch.randn(2, 3, 4).transpose(0, 1)
    x = nn.Variable(value)
    assert (x.shape, x.dtype, x.device, x.ndim, x.dim()) == (value.shape, value.dtype, value.device, 3, 3)
    assert (x.size(), x.size(-1), x.size(dim=0)) == (value.shape, 4, 3)
    assert not x.is_contiguous()
    assert x.contiguous().is_contiguous()
    channels = nn.Variable(torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last))
    assert channels.is_contiguous(memory_format=torch.channels_last)

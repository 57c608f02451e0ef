"""Variables, the record, and the walk: what is kept, what is let go, where gradients rest."""

from __future__ import annotations

import contextlib
import gc
import threading
import weakref
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from modgrad import nn
from modgrad.graph.tracing import Tracing


class Square(nn.Primitive):
    def forward(self, call: nn.Call, x: Tensor) -> Tensor:
        assert type(x) is Tensor
        call.save(x)
        return x * x

    def backward(self, call: nn.Call, grad: Tensor) -> Tensor:
        assert type(grad) is Tensor
        (x,) = call.saved
        assert type(x) is Tensor
        return 2 * x * grad


class Two(nn.Primitive):
    """Two outputs, x and 3x, and a count of the walks through it."""

    seen: list[Any]

    def forward(self, call: nn.Call, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, 3 * x

    def backward(self, call: nn.Call, grad: Tensor | None, grad3: Tensor | None) -> Tensor | None:
        self.seen = [grad, grad3]
        parts = [g for g in (grad, None if grad3 is None else 3 * grad3) if g is not None]
        return sum(parts[1:], parts[0])


class Passing(nn.Primitive):
    """Gives back what it gets, forward and backward, the same object."""

    def forward(self, call: nn.Call, x: Tensor) -> Tensor:
        return x

    def backward(self, call: nn.Call, grad: Tensor) -> Tensor:
        return grad


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


# The walk


def test_held_values_get_gradients_and_others_do_not_linger() -> None:
    x = nn.Variable(torch.ones(3))
    held = x * 2
    dropped = weakref.ref(held * 3)
    y = Square()(held * 3)
    y.sum().backward()
    assert torch.equal(held.grad_v, torch.full((3,), 36.0))
    assert torch.equal(y.grad_v, torch.ones(3))
    assert dropped() is None


def test_only_what_was_saved_is_kept_and_the_walk_frees_it() -> None:
    def storage(v: Any) -> Any:
        return weakref.ref(v.detach())

    x = nn.Variable(torch.ones(3))
    doubled = x * 2  # Mul saves the number only, Add nothing
    reference = storage(doubled)
    added = doubled + 1
    del doubled
    assert reference() is None, "nobody saved it"
    reference = storage(added)
    y = Square()(added)
    del added
    assert reference() is not None, "Square saved it"
    y.sum().backward()
    assert reference() is None, "the walk let it go"


@pytest.mark.parametrize("in_turn", [True, False])
def test_a_gradient_is_let_go_when_it_was_passed_on(in_turn: bool) -> None:
    given: list[Any] = []

    class Watching(nn.Primitive):
        def forward(self, call: nn.Call, x: Tensor) -> Tensor:
            return x * 2

        def backward(self, call: nn.Call, grad: Tensor) -> Tensor:
            assert all(earlier() is None for earlier in given)
            given.append(weakref.ref(grad))
            return grad * 2

    layers = [Watching() for _ in range(4)]
    x = nn.Variable(torch.ones(3))
    y: Any = nn.Sequential(*layers)(x) if in_turn else x
    for layer in [] if in_turn else layers:
        y = layer(y)
    loss = y.sum()
    del y
    loss.backward()
    assert len(given) == 4


def test_a_graph_that_is_never_walked_is_freed_at_once() -> None:
    gc.collect()
    gc.disable()
    try:
        model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Tanh(), nn.Linear(3, 2))
        y = model(torch.ones(2, 3))
        references = [weakref.ref(y), weakref.ref(y._source[0]), weakref.ref(y.previous_inputs[0]._source[0].saved[0])]
        del y
        assert [r() for r in references] == [None, None, None], "no cycle keeps it"
    finally:
        gc.enable()


def test_a_graph_of_100_000_calls() -> None:
    for keep in (False, True):
        x = nn.Variable(torch.ones(1))
        y: Any = x
        with nn.keep_values() if keep else contextlib.nullcontext():
            for _ in range(100_000):
                y = y + 1
        y.backward(torch.ones(1))
        assert x.grad_v.item() == 1
        del y


def test_two_to_the_fortieth_paths_are_walked_once_each_call() -> None:
    x = nn.Variable(torch.ones(1, dtype=torch.float64))
    y = x * 1
    for _ in range(40):
        y = y + y
    y.backward(torch.ones(1, dtype=torch.float64))
    assert x.grad_v.item() == 2.0**40


def test_several_outputs_are_gathered() -> None:
    two = Two()
    x = nn.Variable(torch.ones(3))
    a, b = two(x)
    (a * 2 + b + b).sum().backward()
    assert [g.tolist() for g in two.seen] == [[2.0] * 3, [2.0] * 3]
    assert torch.equal(x.grad_v, torch.full((3,), 8.0))
    a, b = two(x)
    b.sum().backward()
    assert two.seen[0] is None


def test_none_stops_the_walk() -> None:
    class Stop(Square):
        def backward(self, call: nn.Call, grad: Tensor) -> Any:
            return None

    layer = nn.Linear(3, 3)
    Stop()(layer(torch.ones(1, 3))).sum().backward()
    assert layer.weight.grad_v is None


def test_a_gradient_that_is_passed_on_is_nobody_elses() -> None:
    """The same object travels through; each place where it rests has a copy."""
    p, q = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    v = nn.Variable(torch.ones(3))
    w = Passing()(Passing()(v))
    total = (p + q) + w
    upstream = torch.full((3,), 5.0)
    total.backward(upstream)
    gradients = [p.grad_v, q.grad_v, v.grad_v, w.grad_v, total.grad_v, upstream]
    assert len({g.data_ptr() for g in gradients}) == len(gradients)
    p.grad_v.zero_()
    assert all(torch.equal(g, torch.full((3,), 5.0)) for g in gradients[1:])


@pytest.mark.parametrize("alias", [lambda g: g, lambda g: g.detach(), lambda g: g.view(3), lambda g: g.data])
def test_aliases_of_the_upstream_gradient(alias: Any) -> None:
    class Bias(nn.Primitive):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(3))

        def forward(self, call: nn.Call, x: Tensor) -> Tensor:
            return x + self.a + self.b

        def backward(self, call: nn.Call, grad: Tensor) -> Tensor:
            return alias(grad)

        def parameter_gradients(self, call: nn.Call, grad: Tensor) -> Any:
            return {"a": alias(grad), "b": alias(grad)}

    bias = Bias()
    x = nn.Variable(torch.ones(3))
    y = bias(x)
    (y * 3).sum().backward()
    gradients = [bias.a.grad_v, bias.b.grad_v, x.grad_v, y.grad_v]
    assert len({g.data_ptr() for g in gradients}) == 4
    assert all(torch.equal(g, torch.full((3,), 3.0)) for g in gradients)


def test_a_gradient_that_was_saved_or_is_kept_elsewhere() -> None:
    kept = torch.ones(3)

    class Odd(nn.Primitive):
        def forward(self, call: nn.Call, x: Tensor) -> Tensor:
            return x * 1

        def backward(self, call: nn.Call, grad: Tensor) -> Tensor:
            return kept

    x = nn.Variable(torch.ones(3))
    Odd()(x).sum().backward()
    assert x.grad_v is not kept
    x.grad_v.zero_()
    assert kept.all()


def test_accumulating_does_not_change_an_earlier_gradient() -> None:
    p = nn.Parameter(torch.ones(3))
    (p * 2).sum().backward()
    first = p.grad_v
    (p * 2).sum().backward()
    assert torch.equal(first, torch.full((3,), 2.0))
    assert torch.equal(p.grad_v, torch.full((3,), 4.0))


def test_an_error_in_the_middle_leaves_the_graph_usable() -> None:
    class Failing(Square):
        fail = True

        def backward(self, call: nn.Call, grad: Tensor) -> Tensor:
            if self.fail:
                raise KeyboardInterrupt
            return super().backward(call, grad)

    x = nn.Variable(torch.ones(3))
    failing = Failing()
    y = (failing(x) + Square()(x)).sum()
    with pytest.raises(KeyboardInterrupt):
        y.backward(retain_graph=True)
    failing.fail = False
    x.grad_v = None
    y.backward()
    assert torch.equal(x.grad_v, torch.full((3,), 4.0))


def test_attributes_on_the_call_live_as_long_as_what_was_saved() -> None:
    class Marked(Square):
        def forward(self, call: Any, x: Tensor) -> Tensor:
            call.mark = torch.ones(2)
            self.reference = weakref.ref(call.mark)
            return super().forward(call, x)

        def backward(self, call: Any, grad: Tensor) -> Tensor:
            assert call.mark.all()
            return super().backward(call, grad)

    marked = Marked()
    y = marked(nn.Variable(torch.ones(3))).sum()
    assert marked.reference() is not None
    y.backward()
    assert marked.reference() is None


def test_wants() -> None:
    wanted = []

    class Asking(nn.Primitive):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.bias = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))

        def forward(self, call: nn.Call, x: Tensor, y: Tensor, n: int) -> Tensor:
            wanted.append([call.wants(which) for which in (0, 1, 2, "weight", "bias")])
            return x + y

        def backward(self, call: nn.Call, grad: Tensor) -> Any:
            return grad, None

        def parameter_gradients(self, call: nn.Call, grad: Tensor) -> Any:
            return {}

    asking = Asking()
    asking.bias.grad_f = False
    asking(nn.Variable(torch.ones(3)), torch.ones(3), 2)
    asking(torch.ones(3), asking.bias, n=2)
    with nn.no_grad():
        asking(nn.Variable(torch.ones(3)), torch.ones(3), 2)
    assert wanted == [[True, False, False, True, False], [False, False, False, True, False], [False] * 5]


def test_in_turn_is_the_same_as_one_by_one() -> None:
    """Sequential makes no Variables in between; mixed with composites and operators it computes the same."""

    class Composite(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(3, 3)

        def forward(self, x: Any) -> Any:
            return self.inner(x) * 2 + x

    modules = [nn.Linear(3, 3), nn.ReLU(), Composite(), nn.Identity(), nn.Tanh(), nn.Flatten(), nn.Linear(3, 3)]
    model = nn.Sequential(*modules)
    for x in (torch.randn(4, 3), nn.Variable(torch.randn(4, 3)), nn.Variable(torch.randn(4, 3)) * 2):
        y = model(x)
        (y * y).sum().backward(retain_graph=True)
        mine = [p.grad_v for p in model.parameters()]
        model.zero_grad()
        z: Any = x
        for module in modules:
            z = module(z)
        (z * z).sum().backward()
        assert torch.equal(y.detach(), z.detach())
        for a, b in zip(mine, (p.grad_v for p in model.parameters()), strict=True):
            assert torch.equal(a, b)
        model.zero_grad()
    assert torch.equal(nn.Sequential()(torch.ones(3)), torch.ones(3))


def test_every_way_out_of_a_run_of_primitives() -> None:
    """Several outputs, an integer output, a call of one's own, the end: each as one by one."""

    class Added(nn.Module):
        def forward(self, pair: Any) -> Any:
            return pair[0] + pair[1]

    class Largest(nn.Primitive):
        def forward(self, call: nn.Call, x: Tensor) -> Tensor:
            return x.argmax(-1)

    class Tripled(nn.ReLU):
        def __call__(self, x: Any) -> Any:
            return super().__call__(x) * 3

    for tail in ([Two(), Added()], [Tripled(), nn.Linear(3, 2)], [Largest()], []):
        model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), *tail)
        for x in (torch.randn(4, 3), nn.Variable(torch.randn(4, 3))):
            y, z = model(x), x
            for module in model:
                z = module(z)
            assert type(y) is type(z)
            assert torch.equal(y.detach(), z.detach())
            if isinstance(y, nn.Variable):
                y.sum().backward()
                mine = [p.grad_v for p in model.parameters()]
                model.zero_grad()
                z.sum().backward()
                assert all(torch.equal(p.grad_v, g) for p, g in zip(model.parameters(), mine, strict=True))
                model.zero_grad()


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

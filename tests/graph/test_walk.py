"""The walk: what is let go, where gradients rest, whose memory they are."""

from __future__ import annotations

import contextlib
import gc
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor

from modgrad import nn
from tests.graph.primitives import Passing, Square, Two


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

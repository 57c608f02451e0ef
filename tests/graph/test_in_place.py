"""Gradients written into memory that the walk alone holds: elementwise ones, and parameters' later ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from modgrad import functional, nn
from modgrad.graph import walk

ELEMENTWISE: list[Callable[[], nn.Primitive]] = [
    nn.ReLU,
    nn.Tanh,
    nn.Sigmoid,
    nn.GELU,
    lambda: nn.GELU(approximate="tanh"),
]
elementwise = pytest.mark.parametrize("make", ELEMENTWISE, ids=lambda make: str(make()))


@pytest.fixture(autouse=True)
def every_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "LARGE", 0)


class Seen(nn.Primitive):
    """Passes a copy on, and notes where the gradient that it was given lay, and where the copy lies."""

    given = passed = 0

    def forward(self, call: Any, x: Tensor) -> Tensor:
        return x.clone()

    def backward(self, call: Any, grad: Tensor) -> Tensor:
        copy = grad.clone()
        self.given, self.passed = grad.data_ptr(), copy.data_ptr()
        return copy


def upstream(x: Tensor) -> Tensor:
    return torch.randn(x.shape, generator=torch.Generator().manual_seed(1))


def expected(function: nn.Module, x: Tensor) -> Tensor:
    """The gradient that `backward` gives, out of place."""
    leaf = nn.Variable(x)
    before, walk.LARGE = walk.LARGE, 2**62
    try:
        y = function(leaf)
        y.backward(upstream(y))
    finally:
        walk.LARGE = before
    assert leaf.grad_v is not None
    return leaf.grad_v


@elementwise
def test_it_is_written_into_the_upstream_gradient(make: Callable[[], nn.Primitive]) -> None:
    first, last, x = Seen(), Seen(), torch.randn(5, 3)
    model = nn.Sequential(first, make(), last)
    leaf = nn.Variable(x)
    model(leaf).backward(upstream(x))
    assert first.given == last.passed
    assert torch.equal(leaf.grad_v, expected(model, x))


@elementwise
def test_so_it_is_where_channels_are_last(make: Callable[[], nn.Primitive]) -> None:
    first, last, x = Seen(), Seen(), torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    leaf = nn.Variable(x)
    nn.Sequential(first, make(), last)(leaf).backward(upstream(x).to(memory_format=torch.channels_last))
    assert first.given == last.passed
    assert leaf.grad_v.is_contiguous(memory_format=torch.channels_last)


@elementwise
def test_a_gradient_in_another_order_gives_what_it_gives_out_of_place(make: Callable[[], nn.Primitive]) -> None:
    """Of ReLU that is the order of the values: what comes next reads both, and takes far longer where they differ."""
    model, x = nn.Sequential(make(), Seen()), torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    leaf, wanted = nn.Variable(x), expected(model, x)
    model(leaf).backward(upstream(x))
    assert torch.equal(leaf.grad_v, wanted)
    assert leaf.grad_v.stride() == wanted.stride()
    assert not isinstance(make(), nn.ReLU) or wanted.is_contiguous(memory_format=torch.channels_last)


@elementwise
def test_by_formulas_too(make: Callable[[], nn.Primitive]) -> None:
    model, x = nn.Sequential(Seen(), make(), Seen()), torch.randn(5, 3, dtype=torch.float64)
    leaf, wanted = nn.Variable(x), nn.Variable(x)
    model(wanted).backward(upstream(x).double())
    with functional.formulas():
        model(leaf).backward(upstream(x).double())
    torch.testing.assert_close(leaf.grad_v, wanted.grad_v, rtol=1e-12, atol=1e-13)


@elementwise
def test_a_gradient_that_somebody_else_has_stays(make: Callable[[], nn.Primitive]) -> None:
    """A held Variable's, one that goes to two branches, and the same graph walked twice."""
    x = torch.randn(5, 3)
    function = make()
    leaf = nn.Variable(x)
    held = function(leaf)
    seen = Seen()(held)
    given = upstream(x)
    seen.backward(given, retain_graph=True)
    assert torch.equal(held.grad_v, given)
    assert torch.equal(given, upstream(x))
    once = leaf.grad_v.clone()
    seen.backward(given)
    assert torch.equal(leaf.grad_v, 2 * once)

    class Branches(nn.Module):
        def forward(self, x: Any) -> Any:
            return Seen()(function(x) + make()(x) + function(x))

    wanted = expected(Branches(), x)
    leaf = nn.Variable(x)
    Branches()(leaf).backward(upstream(x))
    torch.testing.assert_close(leaf.grad_v, wanted)


def test_a_gradient_of_repeated_memory_stays() -> None:
    """That of a sum is one value, expanded."""
    leaf = nn.Variable(torch.randn(5, 3))
    torch.relu(leaf).sum().backward()
    assert torch.equal(leaf.grad_v, (leaf.detach() > 0).float())


def test_kept_values_keep_their_gradients() -> None:
    leaf = nn.Variable(torch.randn(5, 3))
    with nn.keep_values():
        y = Seen()(torch.tanh(leaf))
    y.backward(upstream(leaf))
    (between,) = y.previous_inputs
    assert torch.equal(between.grad_v, upstream(leaf))
    torch.testing.assert_close(leaf.grad_v, upstream(leaf) * (1 - leaf.detach().tanh() ** 2))


def test_a_subclass_with_its_own_backward_is_asked() -> None:
    class Straight(nn.ReLU):
        def backward(self, call: Any, grad: Tensor) -> Tensor:
            return grad * 2

    leaf = nn.Variable(-torch.ones(4))
    nn.Sequential(Seen(), Straight(), Seen())(leaf).backward(torch.ones(4))
    assert torch.equal(leaf.grad_v, torch.full((4,), 2.0))


# Parameters' gradients, added to what has come before


USED_OFTEN: list[tuple[Callable[[], nn.Primitive], Callable[[], Tensor]]] = [
    (lambda: nn.Linear(3, 4), lambda: torch.randn(5, 3)),
    (lambda: nn.Linear(3, 4), lambda: torch.randn(2, 5, 3)),
    (lambda: nn.Linear(3, 4, bias=False), lambda: torch.randn(3)),
    (lambda: nn.Embedding(3, 4), lambda: torch.tensor([[0, 2, 2], [1, 2, 0]])),
    (lambda: nn.Embedding(3, 4, padding_idx=2), lambda: torch.tensor([0, 2, 2], dtype=torch.int32)),
    (lambda: nn.Embedding(3, 4, scale_grad_by_freq=True), lambda: torch.tensor([0, 2, 2])),
]
used_often = pytest.mark.parametrize(("make", "batch"), USED_OFTEN, ids=[str(make()) for make, _ in USED_OFTEN])


def _upstream(y: Any) -> Tensor:
    return upstream(y).to(y.dtype)


def _gradients(module: nn.Primitive, batches: list[Tensor]) -> list[Tensor]:
    """Of each batch by itself, from nothing."""
    sums = [torch.zeros_like(p) for p in module.parameters()]
    for batch in batches:
        module.zero_grad()
        y = module(batch)
        y.backward(_upstream(y))
        sums = [total + p.grad_v for total, p in zip(sums, module.parameters(), strict=True)]
    module.zero_grad()
    return sums


@used_often
def test_later_gradients_are_added_where_the_first_is(
    make: Callable[[], nn.Primitive], batch: Callable[[], Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = make().double()
    batches = [x.double() if x.is_floating_point() else x for x in (batch(), batch(), batch())]
    wanted = _gradients(module, batches)
    for x in batches:
        y = module(x)
        y.backward(_upstream(y))
        where = [p.grad_v.data_ptr() for p in module.parameters()]
        monkeypatch.setattr(type(module), "parameter_gradients", None)  # which is not asked again
    assert where == [p.grad_v.data_ptr() for p in module.parameters()]
    for parameter, total in zip(module.parameters(), wanted, strict=True):
        torch.testing.assert_close(parameter.grad_v, total, rtol=1e-12, atol=1e-13)


@used_often
def test_a_first_gradient_that_somebody_has_stays(
    make: Callable[[], nn.Primitive], batch: Callable[[], Tensor]
) -> None:
    module, x = make(), batch()
    y = module(x)
    y.backward(_upstream(y))
    held = [p.grad_v for p in module.parameters()]
    before = [g.clone() for g in held]
    y = module(x)
    y.backward(_upstream(y))
    for mine, then, parameter in zip(held, before, module.parameters(), strict=True):
        assert torch.equal(mine, then)
        torch.testing.assert_close(parameter.grad_v, 2 * then)


def test_a_frozen_bias_gets_nothing() -> None:
    module = nn.Linear(3, 4)
    module.bias.grad_f = False
    for _ in range(2):
        module(torch.ones(2, 3)).sum().backward()
    assert module.bias.grad_v is None
    assert torch.equal(module.weight.grad_v, torch.full((4, 3), 4.0))


def test_an_embedding_tied_to_the_last_layer() -> None:
    """Its rows are added to what the last layer has given."""

    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wte, self.head = nn.Embedding(5, 3), nn.Linear(3, 5, bias=False)
            self.head.weight = self.wte.weight

        def forward(self, x: Any) -> Any:
            return self.head(torch.tanh(self.wte(x)))

    tied, x = Tied().double(), torch.tensor([4, 0, 0])
    with pytest.MonkeyPatch.context() as patch:
        asked: list[str] = []
        add = nn.Embedding.parameter_gradients_
        patch.setattr(nn.Embedding, "parameter_gradients_", lambda *a: (asked.append("in place"), add(*a)))
        y = tied(x)
        y.backward(_upstream(y))
    assert asked == ["in place"]
    weight = tied.wte.weight.detach().clone().requires_grad_()
    (torch.tanh(weight[x]) @ weight.t()).backward(_upstream(y))
    torch.testing.assert_close(tied.wte.weight.grad_v, weight.grad, rtol=1e-12, atol=1e-13)

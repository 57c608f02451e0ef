"""recompute: the same gradients, bit for bit, from less memory. Each model is held against itself without the mark."""

from __future__ import annotations

import copy
import pickle
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from modgrad import nn
from modgrad.graph.call import COMPUTED_AGAIN


class Doubled(nn.Primitive):
    """Saves its input, as GELU and the norms do. Counts."""

    def __init__(self) -> None:
        super().__init__()
        self.ran: list[weakref.ref[Tensor]] = []  # what came out, each time

    def forward(self, call: Any, x: Tensor) -> Tensor:
        call.save(x)
        y = x * 2
        self.ran.append(weakref.ref(y))
        return y

    def backward(self, call: Any, grad: Tensor) -> Tensor:
        return 2 * grad


class Block(nn.Module):
    def __init__(self, width: int = 4, inner: Any = None) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Dropout(), nn.Linear(width, width))
        self.inner = nn.Identity() if inner is None else inner

    def forward(self, x: Any) -> Any:
        return x + self.inner(self.body(x)) * x.mean()


class Composite(nn.Module):
    """Any forward, over two layers."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)
        self.function = function

    def forward(self, *inputs: Any, **named: Any) -> Any:
        return self.function(self, *inputs, **named)


def gradients(model: nn.Module, use: Callable[[nn.Module], Any], seed: int = 1) -> dict[str, Any]:
    """Everything that a step leaves: the loss, gradients, buffers, and the generator's place."""
    torch.manual_seed(seed)
    model.zero_grad()
    x = use(model)
    return {
        **{f"value {i}": v for i, v in enumerate(x)},
        **{name: p.grad_v for name, p in model.named_parameters()},
        **dict(model.named_buffers()),
        "generator": torch.get_rng_state(),
    }


def assert_the_same(model: nn.Module, mark: Callable[[Any], Any], use: Callable[[Any], Any]) -> None:
    """`use(model)` gives some values; they and all that it leaves are equal with and without the mark."""
    twin = copy.deepcopy(model)
    mark(twin)
    plain, marked = gradients(model, use), gradients(twin, use)
    assert plain.keys() == marked.keys()
    for name, value in plain.items():
        assert (value is None) == (marked[name] is None), name
        assert value is None or torch.equal(value, marked[name]), name
    assert not COMPUTED_AGAIN


def step(*shapes: tuple[int, ...], leaf: bool = True) -> Callable[[Any], Any]:
    """Loss, gradient of the input."""

    def use(model: Any) -> list[Any]:
        generator = torch.Generator().manual_seed(5)
        x = [torch.randn(shape, generator=generator) for shape in shapes]
        given = [nn.Variable(v) for v in x] if leaf else x
        y = model(*given)
        loss = (y * torch.randn(y.shape, generator=generator)).sum()
        loss.backward()
        return [loss.detach(), *(v.grad_v for v in given if leaf)]

    return use


def mark_blocks(model: Any) -> None:
    for module in model.modules():
        if isinstance(module, (Block, Composite)):
            nn.recompute(module)


# The same, to the last bit


@pytest.mark.parametrize("leaf", [True, False])
def test_blocks(leaf: bool) -> None:
    model = nn.Sequential(nn.Linear(4, 4), Block(), nn.Tanh(), Block(), nn.Linear(4, 2))
    assert_the_same(model, mark_blocks, step((5, 4), leaf=leaf))


def test_the_whole_model_and_a_sequential() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Dropout(), nn.Linear(4, 2))
    assert_the_same(model, nn.recompute, step((5, 4)))


def test_nested() -> None:
    model = nn.Sequential(Block(inner=Block(inner=nn.Sequential(Block(), nn.Tanh()))), nn.Linear(4, 4))
    assert_the_same(model, mark_blocks, step((5, 4)))
    assert_the_same(model, lambda m: m.apply(lambda s: nn.recompute(s)), step((5, 4)))


def test_batch_norm_moves_its_statistics_once() -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3), nn.ReLU(), nn.BatchNorm2d(3, momentum=None))
    assert_the_same(model, nn.recompute, step((4, 2, 5, 5)))
    assert_the_same(model, lambda m: m.apply(nn.recompute), step((4, 2, 5, 5)))
    assert int(model[1].num_batches_tracked) == 2
    assert_the_same(model.eval(), nn.recompute, step((4, 2, 5, 5)))


def test_mode_and_buffers_at_backward_are_those_of_forward() -> None:
    def use(model: Any) -> list[Any]:
        x = nn.Variable(torch.randn(4, 2, 5, 5, generator=torch.Generator().manual_seed(5)))
        loss = model(x).square().sum()
        with nn.no_grad():
            model(torch.ones(4, 2, 5, 5))  # moves the statistics once more
        model.eval()
        loss.backward()
        assert not model[1].training
        return [x.grad_v]

    assert_the_same(nn.Sequential(nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3), nn.Dropout()), nn.recompute, use)


def test_a_counting_buffer_counts_once_and_is_seen_as_it_was() -> None:
    def forward(self: Any, x: Any) -> Any:
        self.count = self.count + 1  # another tensor; or in place
        self.total.add_(1)
        return self.a(x) * self.count * self.total

    model = Composite(forward)
    model.count, model.total = nn.Buffer(torch.tensor(1.0)), nn.Buffer(torch.tensor(3.0))
    assert_the_same(model, nn.recompute, step((5, 4)))


def outputs(*, use_first: bool = True, use_second: bool = True) -> Callable[[Any], Any]:
    def use(model: Any) -> list[Any]:
        x = nn.Variable(torch.linspace(0, 1, 20).reshape(5, 4))
        found = model(x, scale=2.0)
        first, (second, index), same, nothing = found["first"], found["pair"], found["same"], found["nothing"]
        assert nothing is None
        assert type(index) is Tensor
        loss = same.sum() * 0.5
        if use_first:
            loss = loss + (first * 3).sum()
        if use_second:
            loss = loss + second.exp().sum() + (second * index).sum()
        loss.backward()
        return [loss.detach(), x.grad_v]

    return use


@pytest.mark.parametrize("use_first", [True, False])
@pytest.mark.parametrize("use_second", [True, False])
def test_several_outputs(use_first: bool, use_second: bool) -> None:
    def forward(self: Any, x: Any, scale: float) -> Any:
        first = self.a(x) * scale
        return {"first": first, "pair": (self.b(first), first.argmax(-1, keepdim=True)), "same": x, "nothing": None}

    assert_the_same(Composite(forward), nn.recompute, outputs(use_first=use_first, use_second=use_second))


def test_an_output_given_twice_and_a_parameter_as_output() -> None:
    def forward(self: Any, x: Any) -> Any:
        y = self.a(x)
        return y, y, self.b.weight

    def use(model: Any) -> list[Any]:
        x = nn.Variable(torch.ones(5, 4))
        y, z, w = model(x)
        (y * 2 + z.exp() @ w).sum().backward()
        return [x.grad_v]

    assert_the_same(Composite(forward), nn.recompute, use)


def test_arguments_of_every_kind() -> None:
    def forward(self: Any, x: Any, pair: Any, *, weight: Any, mask: Tensor, flag: bool) -> Any:
        assert flag
        return self.a(x) @ weight + pair["y"][0] * mask + pair["y"][1]

    def use(model: Any) -> list[Any]:
        x, y = nn.Variable(torch.ones(5, 4)), nn.Variable(torch.ones(5, 4) * 2)
        weight = nn.Parameter(torch.eye(4) * 3)
        inner = x * 1.5  # not a leaf
        mask = torch.arange(20.0).reshape(5, 4)
        model(inner, {"y": [y, inner]}, weight=weight, mask=mask, flag=True).square().sum().backward()
        return [x.grad_v, y.grad_v, weight.grad_v, inner.grad_v]

    assert_the_same(Composite(forward), nn.recompute, use)


def test_what_comes_from_elsewhere() -> None:
    """A Variable that forward reads from an attribute: the walk goes on to what made it."""

    def forward(self: Any, x: Any) -> Any:
        return self.a(x) * self.elsewhere[0]

    def use(model: Any) -> list[Any]:
        z = nn.Variable(torch.ones(5, 4))
        model.elsewhere = [(z * 2).exp()]
        y = model(torch.ones(5, 4)).sum() + model.elsewhere[0].sum()
        y.backward()
        del model.elsewhere
        return [z.grad_v]

    assert_the_same(Composite(forward), nn.recompute, use)


def test_shared_modules_and_tied_parameters() -> None:
    block = Block()
    block.body[3].weight = block.body[0].weight
    last = nn.Linear(4, 4)
    last.weight = block.body[0].weight
    assert_the_same(nn.Sequential(block, nn.Tanh(), block, last), mark_blocks, step((5, 4)))


@pytest.mark.parametrize("leaf", [True, False])
def test_frozen_parameters(leaf: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(Block(), Block(), nn.Linear(4, 4))
    model[0].freeze()
    model[1].body[0].weight.grad_f = False
    assert_the_same(model, mark_blocks, step((5, 4), leaf=leaf))
    marked = nn.recompute(Block()).freeze()
    assert type(marked(torch.ones(2, 4))) is Tensor, "nothing to train: no record"
    called = []
    monkeypatch.setattr(nn.Linear, "backward", lambda *_: called.append(1))
    nn.recompute(nn.Sequential(nn.Linear(4, 4)))(torch.ones(2, 4)).sum().backward()
    assert not called, "an input that wants no gradient was given one"


def test_backward_twice() -> None:
    def use(model: Any) -> list[Any]:
        x = nn.Variable(torch.ones(5, 4))
        loss = model(x).square().sum()
        loss.backward(retain_graph=True)
        first = x.grad_v.clone()
        loss.backward()
        with pytest.raises(RuntimeError, match="second time"):
            loss.backward()
        return [first, x.grad_v]

    model = nn.Sequential(Block(), Doubled(), nn.Linear(4, 4), Block())
    assert_the_same(model, lambda m: [mark_blocks(m), nn.recompute(m[1])], use)


def test_without_recording_nothing_is_computed_again() -> None:
    model = nn.recompute(nn.Sequential(nn.recompute(Doubled()), nn.Linear(4, 4)))
    with nn.no_grad():
        assert type(model(nn.Variable(torch.ones(2, 4)))) is Tensor
    with nn.keep_values():
        y = model(nn.Variable(torch.ones(2, 4)))
        assert isinstance(y.previous_module, nn.Linear)
        y.sum().backward()
        assert torch.equal(y.previous_inputs[0].detach(), torch.full((2, 4), 2.0))
    assert len(model[0].ran) == 2


def test_backward_inside_no_grad_and_outside_of_keep_values() -> None:
    model = nn.recompute(nn.Sequential(nn.Linear(4, 4), nn.Tanh()))
    loss = model(torch.ones(2, 4)).sum()
    with nn.no_grad():
        loss.backward()
    assert model[0].weight.grad_v is not None


def test_many_marked_modules_deep() -> None:
    """No recursion: neither over a long chain, nor over marked primitives in a row."""
    model = nn.Sequential(*(nn.recompute(nn.Sequential(nn.recompute(Doubled()))) for _ in range(1500)))
    x = nn.Variable(torch.tensor(1e-30, dtype=torch.float64))
    (model(x) * 0).backward()
    assert x.grad_v is not None
    row = nn.Sequential(*(nn.recompute(Doubled()) for _ in range(1500)))
    x = nn.Variable(torch.tensor(1e-30, dtype=torch.float64))
    (row(x) * 0).backward()
    assert x.grad_v is not None


# Errors


def updated(parameter: Any) -> None:
    with nn.no_grad():
        parameter.add_(1)


def test_changed_in_place_is_found() -> None:
    block = nn.recompute(nn.Sequential(nn.Linear(4, 4), nn.Tanh()))
    for change in (lambda x: x.add_(1), lambda _: updated(block[0].weight)):
        x = torch.ones(2, 4)
        y = block(nn.Variable(x))
        change(x)
        with pytest.raises(RuntimeError, match="changed in place after forward"):
            y.sum().backward()
    norm = nn.recompute(nn.Sequential(nn.BatchNorm2d(3))).eval()
    y = norm(nn.Variable(torch.ones(2, 3, 4, 4)))
    norm[0].running_mean.add_(1)
    with pytest.raises(RuntimeError, match="changed in place after forward"):
        y.sum().backward()


def test_a_primitives_input_changed_in_place_is_found() -> None:
    first, model = nn.recompute(Doubled()), nn.Linear(4, 4)
    x = torch.ones(2, 4)
    y = model(first(x))
    x.add_(1)
    with pytest.raises(RuntimeError, match="computed again from, was changed in place"):
        y.sum().backward()


def test_a_changed_input_within() -> None:
    module = nn.recompute(Composite(lambda self, x: self.a(x.add_(1))))
    with pytest.raises(RuntimeError, match="changes .* in place"):
        module(torch.ones(2, 4))


def test_what_cannot_be_marked() -> None:
    class Own(nn.Module):
        def __call__(self, x: Any) -> Any:
            return x

    with pytest.raises(TypeError, match="Own.*__call__ of its own"):
        nn.recompute(Own())
    with pytest.raises(TypeError, match="no forward"):
        nn.recompute(nn.ModuleList())
    with pytest.raises(TypeError, match="expected an nn.Module"):
        nn.recompute(torch.tanh)  # type: ignore[type-var]
    with pytest.raises(TypeError, match="gradients would be lost"):
        nn.recompute(Composite(lambda self, x: {self.a(x)}))(torch.ones(2, 4))
    several = nn.recompute(Composite(lambda self, x: [self.a(x)] * len(calls)))
    calls = [1]
    (y,) = several(torch.ones(2, 4))
    calls.append(2)
    with pytest.raises(RuntimeError, match="1 tensors in forward, and 2"):
        y.sum().backward()


# The mark


def test_the_mark() -> None:
    block, twin = Block(), Block()
    assert nn.recompute(block) is block
    assert block.state_dict().keys() == twin.state_dict().keys()
    assert repr(block).endswith(") [recomputed]")
    for copied in (copy.deepcopy(block), pickle.loads(pickle.dumps(nn.recompute(nn.Sequential(nn.Linear(4, 4)))))):
        assert copied._recomputed
    assert repr(nn.recompute(nn.ReLU())) == "ReLU() [recomputed]"
    assert nn.recompute(block, False) is block
    assert not block._recomputed
    assert not repr(block).endswith("]")
    nn.recompute(block, False)

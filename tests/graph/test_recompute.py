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
from torch.fx.experimental.proxy_tensor import make_fx

from modgrad import nn, optim
from modgrad.graph.call import COMPUTED_AGAIN
from modgrad.graph.randomness import Randomness
from modgrad.graph.tracing import Tracing, substituted
from modgrad.graph.walk import backward
from modgrad.step import TrainingStep


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


# Memory


def held(model: Callable[[Any], Any], x: Any) -> tuple[int, int]:
    """Bytes of the tensors alive after forward, and the most that were after any operation until backward ended."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Watch(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()
            self.storages: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
            self.most = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            for value in result if isinstance(result, (tuple, list)) else (result,):
                if isinstance(value, Tensor):
                    storage = value.untyped_storage()
                    self.storages[storage._cdata] = storage
            self.most = max(self.most, self.now())
            return result

        def now(self) -> int:
            return sum(s.nbytes() for s in self.storages.values())

    with Watch() as watch:
        y = model(x)
        after = watch.now()
        loss = (y * y).sum()
        loss.backward()
    return after, watch.most


def test_memory_of_a_deep_model() -> None:
    layers = [nn.Sequential(nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh()) for _ in range(12)]
    plain = nn.Sequential(*layers)
    marked = copy.deepcopy(plain)
    for block in marked:
        nn.recompute(block)
    x = torch.randn(1024, 32)
    value = x.numel() * x.element_size()
    after, most = held(plain, x)
    after_marked, most_marked = held(marked, x)
    assert after >= 24 * value
    assert after_marked <= 13 * value, "one value for each block"
    assert most_marked <= most - 8 * value


def test_memory_of_a_primitive() -> None:
    """The value dies after forward; one computation serves all that need it; and it dies with the last of them."""

    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.twice = nn.recompute(Doubled())
            self.q, self.k = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: Any) -> Any:
            y = self.twice(x * 3)
            return self.q(y) * self.k(y)

    model = Heads()
    loss = model(nn.Variable(torch.ones(2, 4))).sum()
    assert model.twice.ran[0]() is None
    loss.backward()
    assert len(model.twice.ran) == 2, "computed again once"
    assert model.twice.ran[1]() is None
    assert not COMPUTED_AGAIN
    assert_the_same(Heads(), lambda m: nn.recompute(m.twice, False), step((2, 4)))


def test_memory_in_a_run_of_primitives() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.recompute(Doubled()), nn.Linear(4, 4))
    y = model(torch.ones(2, 4))
    assert model[1].ran[0]() is None
    y.sum().backward()
    assert len(model[1].ran) == 2
    assert_the_same(model, lambda m: nn.recompute(m[1], False), step((2, 4)))


def test_a_value_that_somebody_holds_is_not_computed_again() -> None:
    double, linear = nn.recompute(Doubled()), nn.Linear(4, 4)
    y = double(nn.Variable(torch.ones(2, 4)))
    linear(y).sum().backward()
    assert len(double.ran) == 1
    y = double(nn.Variable(torch.ones(2, 4)))
    loss = linear(y).sum()
    y.detach().add_(1)  # after that, it is
    loss.backward()
    assert len(double.ran) == 3
    assert torch.equal(linear.weight.grad_v, torch.full((4, 4), 8.0))  # 2 rows, twice, of 2
    y = double(nn.Variable(torch.ones(2, 4)))
    y.detach().add_(1)  # before it is saved: the changed value is what counts
    linear.zero_grad()
    linear(y).sum().backward()
    assert torch.equal(linear.weight.grad_v, torch.full((4, 4), 6.0))


def test_a_primitive_that_saves_its_output_is_left_alone() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.recompute(nn.Tanh()), nn.Linear(4, 4))
    y = model(torch.ones(2, 4))
    call = y._source[0]
    assert isinstance(call.saved[0], Tensor)
    assert_the_same(model, lambda m: nn.recompute(m[1], False), step((2, 4)))


def test_marked_dropout() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(), nn.Linear(4, 4), Doubled(), nn.Linear(4, 4))
    assert_the_same(model, lambda m: [nn.recompute(m[1]), nn.recompute(m[3])], step((5, 4)))


def test_a_marked_value_into_a_marked_composite() -> None:
    model = nn.Sequential(nn.Linear(4, 4), Doubled(), Block(), nn.Linear(4, 4))
    assert_the_same(model, lambda m: [nn.recompute(m[1]), nn.recompute(m[2])], step((5, 4)))
    nn.recompute(model[1])
    nn.recompute(model[2])
    y = model(torch.ones(5, 4))
    assert model[1].ran[-1]() is None
    y.sum().backward()


# Tracing


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

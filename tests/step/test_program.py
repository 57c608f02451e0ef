"""The step as an exported program: what it computes, how it reads, and what cannot be one."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
import torch

from modgrad import nn, optim
from modgrad.step import TrainingStep
from modgrad.step.dryrun import UntraceableError
from tests.step.models import perceptron, pictures, points, step_of_everything, step_of_points, twin
from tests.step.test_training import EXACT


@pytest.fixture(scope="module")
def traced() -> TrainingStep:
    """A step with everything, in the middle of accumulating, and its program."""
    torch.manual_seed(0)
    step = step_of_everything(lambda p: optim.Adam(p, lr=0.01), accumulate=2, clip=0.5)
    step(*pictures())
    step.trace(*pictures())
    return step


def test_the_program_is_the_step_at_any_batch_size(traced: TrainingStep) -> None:
    step, program = twin(traced), traced.program
    assert program is not None
    assert program.dynamic
    state = step.state
    state["count"]["count"] = state["count"]["count"].clone()
    for size in (6, 9, 2, 6):
        before = {kind: {name: x.clone() for name, x in named.items()} for kind, named in state.items()}
        new, loss = program(state, pictures(size, seed=size))
        for kind, named in before.items():
            for name, x in named.items():
                assert torch.equal(state[kind][name], x), f"{name} was changed"
        torch.testing.assert_close(loss, step(*pictures(size, seed=size)), **EXACT)
        expected = step.state
        assert new["count"]["count"] % 2 == expected["count"]["count"]
        for kind in ("parameters", "buffers", "optimizer", "gradients", "randomness"):
            for name, x in expected[kind].items():
                torch.testing.assert_close(new[kind][name], x, **EXACT, msg=lambda m, n=name: f"{n}: {m}")
        state = new


def test_the_learning_rate_is_an_input(traced: TrainingStep) -> None:
    program = traced.program
    assert program is not None
    state = twin(traced).state
    state["schedule"]["lr"] = torch.zeros((), dtype=torch.float64)
    new, _ = program(state, pictures())
    for name, x in state["parameters"].items():
        assert torch.equal(new["parameters"][name], x)
    assert not torch.equal(new["optimizer"]["inner.weight.exp_avg"], state["optimizer"]["inner.weight.exp_avg"])


def test_gradients_and_updates_are_there_by_name(traced: TrainingStep) -> None:
    assert traced.program is not None
    names = {node.name for node in traced.program.exported.graph.nodes}
    learning = {"convolution.weight", "norm.bias", "embedding.weight", "block.0.weight", "criterion.linear.bias"}
    for name in learning:
        assert f"grad_{name.replace('.', '_')}" in names
        assert f"new_parameters_{name.replace('.', '_')}" in names
    assert "loss" in names
    assert not any("frozen" in name or "idle" in name for name in names if name.startswith(("grad_", "new_param")))


def test_the_listing_says_where_each_operation_came_from(traced: TrainingStep) -> None:
    text = str(traced.program)
    lines = text.partition("return\n")[0].splitlines()
    for line in lines:
        assert re.search(r"  # \S| = sym_size\(", line), f"no place: {line}"
    operations = "\n".join(lines)
    for place in (
        r"= conv2d\(.*# convolution \(Conv2d\)\.forward",
        r"= relu\(.*# ",
        r"# convolution \(Conv2d\)\.parameter_gradients",
        r"tanh\(.*# block\.1 \(Tanh\)\.forward",
        r"# block\.1 \(Tanh\)\.backward",
        r"# block\.3 \(Linear\)\.backward",
        r"# criterion",
        r"# clipping",
        r"# update",
        r"# accumulation",
        r"# gradient of embedding\.weight",
    ):
        assert re.search(place, operations), place
    assert "state['parameters']['inner.weight'] = new_parameters_inner_weight" in text
    assert text.splitlines()[-1] == "  loss = loss"
    assert len(re.findall(r" = tanh\(.*block\.1", operations)) == 2, "once, and once more in backward"


def test_an_operator_belongs_to_the_composite_that_writes_it() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(2, dtype=torch.float64))

        def forward(self, x: Any) -> Any:
            return x * self.scale

    model = perceptron().append(Scaled())
    step = TrainingStep(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters()))
    step.trace(*points(1))
    assert re.search(r"f64\[s\d+, 2\] = mul\(.*# 5 \(\w+\)\.forward", str(step.program)), step.program


class Fixed(nn.Module):
    def forward(self, x: Any) -> Any:
        return x.reshape(3, 4).reshape(6, 2)


def test_a_model_of_one_batch_size() -> None:
    model = perceptron().append(Fixed())
    step = TrainingStep(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters()))
    step.trace(*points())
    assert step.program is not None
    assert not step.program.dynamic
    _, loss = step.program(step.state, points())
    torch.testing.assert_close(loss, step(*points()), **EXACT)


def test_dropout_without_a_seed_gets_one() -> None:
    model = perceptron().append(nn.Dropout())
    step = TrainingStep(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters()))
    assert step.randomness is None
    step.trace(*points(), dynamic=False)
    assert step.program is not None
    assert step.randomness is not None
    state = step.state
    first, loss = step.program(state, points())
    assert torch.equal(step.program(state, points())[1], loss)
    assert not torch.equal(step.program({**state, "randomness": first["randomness"]}, points())[1], loss)


def test_tracing_leaves_the_step_as_it_was() -> None:
    step = step_of_points(lambda p: optim.SGD(p, lr=0.1))
    other = twin(step)
    step.trace(*points())
    for i in range(2):
        assert torch.equal(step(*points(seed=i)), other(*points(seed=i)))
    assert all(type(p) is nn.Parameter for p in step.model.parameters())


class Asking(nn.Module):
    def forward(self, x: Any) -> Any:
        return x * 2 if x.sum() > 0 else x


class AskingPrimitive(nn.Primitive):
    def forward(self, call: Any, x: Any) -> Any:
        return x * 2

    def backward(self, call: Any, grad: Any) -> Any:
        return grad * 2 if grad.max().item() < 100 else grad


class Selecting(nn.Module):
    def forward(self, x: Any) -> Any:
        return x[x[:, 0] < 100]


class Losing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.calls = torch.zeros((), dtype=torch.float64)

    def forward(self, x: Any) -> Any:
        self.calls += 1
        return x


class Overwriting(nn.Module):
    def forward(self, x: Any) -> Any:
        x[:, 0].mul_(2)
        return x


class Leaving(nn.Module):
    def forward(self, x: Any) -> Any:
        return x * float(x.numpy().max())


class Noisy(nn.Module):
    def forward(self, x: Any) -> Any:
        return x * torch.rand(5, dtype=torch.float64)


ERRORS: list[tuple[nn.Module, int, str]] = [
    (Noisy(), 1, r"module '1' \(Noisy\) draws random numbers \(aten::rand\).*nn.Dropout.*with the batch"),
    (Asking(), 1, r"module '1' \(Asking\) asks for the value of a tensor.*write torch.where"),
    (AskingPrimitive(), 1, r"module '1' \(AskingPrimitive\) asks"),
    (Selecting(), 1, r"module '1' \(Selecting\) asks .*index.*mask"),
    (Losing(), 1, r"module '1' \(Losing\) changes a tensor.*neither parameter nor buffer.*nn.Buffer"),
    (Overwriting(), 0, r"module '0' \(Overwriting\) changes .* part of the batch in place.*clone"),
    (Leaving(), 1, r"(?s)(module '1' \(Leaving\) cannot be traced: RuntimeError|numpy.*by module '1' \(Leaving\))"),
]


@pytest.mark.parametrize(("module", "place", "message"), ERRORS, ids=[type(row[0]).__name__ for row in ERRORS])
@pytest.mark.parametrize("large", [False, True])
def test_what_cannot_be_traced_says_why_and_where(
    module: nn.Module, place: int, message: str, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if large:
        monkeypatch.setattr("modgrad.step.dryrun._SMALL", 0)
    model = perceptron()
    model.insert(place, module)
    step = TrainingStep(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters()))
    x, y = points()
    before = x.clone()
    with pytest.raises(RuntimeError if large else UntraceableError, match=message):
        step.trace(x, y)
    assert torch.equal(x, before)


class Transformer(nn.Module):
    """(B, T) -> (B T, C), to be compared with the embedding's rows."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 8)
        self.norm, self.out = nn.LayerNorm(8), nn.LayerNorm(8)
        self.qkv, self.up, self.down = nn.Linear(8, 24), nn.Linear(8, 16), nn.Linear(16, 8)
        self.gelu, self.dropout = nn.GELU(), nn.Dropout(0.1)

    def forward(self, x: Any) -> Any:
        B, T = x.shape
        h = self.embedding(x)
        q, k, v = (y.view(B, T, 2, 4).transpose(1, 2) for y in self.qkv(self.norm(h)).split(8, dim=2))
        attended = nn.operators.scaled_dot_product_attention(q, k, v, is_causal=True)
        h = h + attended.transpose(1, 2).reshape(B, T, 8)
        return self.out(h + self.dropout(self.down(self.gelu(self.up(h))))).flatten(0, 1)


def test_a_transformer_with_its_embedding_tied_to_the_loss() -> None:
    torch.manual_seed(0)
    model, criterion = Transformer().double(), nn.LinearCrossEntropyLoss(8, 11).double()
    criterion.linear.weight = model.embedding.weight
    step = TrainingStep(model, criterion, optim.Adam(model.parameters(), lr=0.01), seed=1)
    batches = [(torch.randint(11, (n, 5)), torch.randint(11, (n * 5,))) for n in (3, 4, 2)]
    program = step.trace(*batches[0]).module()
    assert step.program is not None
    assert "gradient of embedding.weight" in str(step.program)
    state = copy.deepcopy(step.state)
    for x, y in batches:
        state, loss = program(state, (x, y))
        torch.testing.assert_close(loss, step(x, y), rtol=1e-10, atol=1e-12)
    for name, value in step.state["parameters"].items():
        torch.testing.assert_close(state["parameters"][name], value, rtol=1e-9, atol=1e-11)

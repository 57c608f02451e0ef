"""The check that an export goes through: whatever is broken on the way, nothing wrong is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from modgrad import nn, optim
from modgrad.export.onnx import assemble, check, eager
from modgrad.export.onnx.errors import ExportError
from modgrad.export.onnx.graph import Graph
from modgrad.export.onnx.lowering import LOWERINGS
from modgrad.export.onnx.lowering.table import Operation
from modgrad.step import TrainingStep

aten: Any = torch.ops.aten


class Model(nn.Module):
    """An embedding of which some rows are unused, normalization, a unit that is dead, dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 6)
        self.norm = nn.LayerNorm(6)
        self.hidden = nn.Linear(6, 8)
        self.batch_norm = nn.BatchNorm1d(8)
        self.head = nn.Linear(8, 3)
        self.dropout = nn.Dropout(0.2)

    def forward(self, x: Any) -> Any:
        h = self.norm(self.embedding(x)).mean(1)
        return self.head(self.dropout(self.batch_norm(self.hidden(h)).relu()))


def step_with(optimizer: Callable[[Any], optim.Optimizer] = lambda p: optim.Adam(p, lr=0.01)) -> TrainingStep:
    torch.manual_seed(2)
    model = Model()
    return TrainingStep(model, nn.CrossEntropyLoss(), optimizer(model.parameters()), seed=1)


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randint(5, (6, 4)), torch.randint(3, (6,))


Lowering = Callable[..., Any]


def without_small(lowering: Lowering) -> Lowering:
    """x + 1e-8 as x: what other exporters do."""
    return lambda on, a, b, **k: a if isinstance(b, float) and abs(b) <= 1e-5 else lowering(on, a, b, **k)


def scalars_in_float32(lowering: Lowering) -> Lowering:
    def broken(on: Operation, a: Any, b: Any) -> Any:
        rounded = [float(torch.tensor(x)) if isinstance(x, float) else x for x in (a, b)]
        return lowering(on, *rounded)

    return broken


def other_axis(lowering: Lowering) -> Lowering:
    """Over the samples of each channel, (N, C): over the channels instead, as far as there are as many."""

    def broken(on: Operation, x: Any, dim: Any = None, keepdim: bool = False, **rest: Any) -> Any:
        if dim != [0] or keepdim:
            return lowering(on, x, dim, keepdim, **rest)
        turned = on.op("Reshape", on.transpose(x, [1, 0]), on.vector(x.shape or ()), shape=x.shape)
        return lowering(on, turned, dim, keepdim, **rest)

    return broken


def swapped(lowering: Lowering) -> Lowering:
    return lambda on, a, b, **k: lowering(on, b, a, **k)


def at_the_kink(on: Any, grad: Any, x: Any, threshold: Any) -> Any:
    """The gradient passes at the threshold too."""
    passing = on.op("GreaterOrEqual", x, on.constant(threshold, x.dtype), dtype=torch.bool)
    return on.op("Mul", grad, on.cast(passing, grad.dtype))


BREAKAGES = {
    "eps deleted": (aten.add.Tensor, without_small),
    "numbers beside float64 rounded": (aten.pow.Scalar, scalars_in_float32),
    "subtraction turned round": (aten.sub.Tensor, swapped),
    "another axis": (aten.mean.dim, other_axis),
    "no mean": (aten.mean.dim, lambda lowering: LOWERINGS[aten.sum.dim_IntList]),
    "the derivative at a kink": (aten.threshold_backward.default, lambda lowering: at_the_kink),
    "added once": (aten.index_add.default, lambda lowering: LOWERINGS[aten.index_copy.default]),
    "reciprocal forgotten": (aten.rsqrt.default, lambda lowering: LOWERINGS[aten.sqrt.default]),
    "dropout's words shifted by one less": (
        aten.__rshift__.Scalar,
        lambda lowering: lambda on, x, places: lowering(on, x, places - 1),
    ),
}


@pytest.mark.parametrize("name", BREAKAGES)
def test_a_broken_lowering_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, breaking = BREAKAGES[name]
    monkeypatch.setitem(LOWERINGS, target, breaking(LOWERINGS[target]))
    with pytest.raises(ExportError, match=r"does not do what the step does: '.*,? differs in step"):
        step_with().export_onnx(tmp_path / "model.onnx", *batch())
    assert not list(tmp_path.iterdir())


def test_swapped_outputs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tensors of one shape, each handed on as the other."""
    original = assemble.Assembly._new_state

    def broken(self: Any, new: Any) -> Any:
        state = {kind: dict(tensors) for kind, tensors in new.items()}
        a, b = "norm.weight.exp_avg", "norm.bias.exp_avg"
        state["optimizer"][a], state["optimizer"][b] = state["optimizer"][b], state["optimizer"][a]
        return original(self, state)

    monkeypatch.setattr(assemble.Assembly, "_new_state", broken)
    with pytest.raises(ExportError, match=r"'norm\.(weight|bias)\.exp_avg', of LayerNorm 'norm',"):
        step_with().export_onnx(tmp_path / "model.onnx", *batch())


def test_a_parameter_that_stays_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a learning rate of 0 too, where a schedule begins."""
    original = assemble.Assembly._new_state

    def broken(self: Any, new: Any) -> Any:
        old = new["parameters"]["head.weight"]._replace(name="head.weight")
        return original(self, {**new, "parameters": {**new["parameters"], "head.weight": old}})

    monkeypatch.setattr(assemble.Assembly, "_new_state", broken)
    with pytest.raises(ExportError, match="'head.weight', of Linear 'head', differs in step 1"):
        step_with(lambda p: optim.SGD(p, lr=0.0)).export_onnx(tmp_path / "model.onnx", *batch())


class OfItsSize(nn.Module):
    """Does something else for a batch of one than for others, in training or in evaluation."""

    def __init__(self, in_training: bool) -> None:
        super().__init__()
        self.linear, self.in_training = nn.Linear(3, 2), in_training

    def forward(self, x: Any) -> Any:
        y = self.linear(x)
        return 2 * y if x.shape[0] == 1 and self.training == self.in_training else y


@pytest.mark.parametrize(
    ("in_training", "words"),
    [
        (True, "'loss' differs in a batch of 1, "),
        (False, "'prediction' differs in evaluation mode with a batch of 1, "),
    ],
)
def test_a_batch_of_one_is_tried_too(in_training: bool, words: str, tmp_path: Path) -> None:
    model = OfItsSize(in_training)
    step = TrainingStep(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises(ExportError, match=f"{words}.*say which dimension is meant"):
        step.export_onnx(tmp_path / "model.onnx", torch.randn(4, 3), torch.tensor([0, 1, 1, 0]))
    assert not list(tmp_path.iterdir())


def test_a_size_that_the_step_refuses_is_not_tried(tmp_path: Path) -> None:
    """Batch normalization takes no single vector."""
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    step = TrainingStep(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.1))
    manifest = step.export_onnx(tmp_path / "model.onnx", torch.randn(4, 3), torch.tensor([0, 1, 1, 0]))
    assert [entry["shape"][0] for entry in manifest["batch"]] == ["batch", "batch"]


NUMBERS = torch.tensor([1.0, 2.0])
NEAR: dict[str, tuple[torch.Tensor, torch.Tensor, torch.Tensor, bool]] = {
    "a rounding away": (NUMBERS * (1 + 1e-6), NUMBERS, NUMBERS.double(), True),
    "far": (NUMBERS * (1 + 1e-4), NUMBERS, NUMBERS.double(), False),
    "of another shape": (torch.ones(1), torch.ones(2), torch.ones(2).double(), False),
    "of another dtype": (NUMBERS.double(), NUMBERS, NUMBERS.double(), False),
    "whole numbers": (torch.tensor(3), torch.tensor(4), torch.tensor(4), False),
    "too large for both": (torch.tensor(torch.inf), torch.tensor(torch.inf), torch.tensor(1e39).double(), True),
    "too large for the step alone": (torch.tensor(1.0), torch.tensor(torch.inf), torch.tensor(1e39).double(), False),
}


@pytest.mark.parametrize("name", NEAR)
def test_what_is_near(name: str) -> None:
    found, own, exact, expected = NEAR[name]
    assert check._near(found, own, exact) == expected


def test_a_frozen_count_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a runtime keeps a tensor that changes for a constant: from the second step on."""
    original = Graph.input

    def broken(self: Graph, name: str, dtype: torch.dtype, shape: Any) -> Any:
        value = original(self, name, dtype, shape)
        return self.constant(torch.zeros((), dtype=dtype)) if name.endswith(".step") else value

    monkeypatch.setattr(Graph, "input", broken)
    with pytest.raises(ExportError, match=r"differs in step 2"):
        step_with().export_onnx(tmp_path / "model.onnx", *batch())


def test_the_module_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator without a form in ONNX, and where it is."""
    monkeypatch.delitem(LOWERINGS, aten.relu.default)
    with pytest.raises(ExportError, match=r"aten\.relu\.default, in .*has no form in ONNX"):
        step_with().export_onnx(tmp_path / "model.onnx", *batch())


def test_what_is_sound_passes_with_noise_in_it(tmp_path: Path) -> None:
    """The hidden layer's bias stands before batch normalization: its true gradient is zero, and Adam walks on noise."""
    step = step_with()
    step.export_onnx(tmp_path / "model.onnx", *batch())
    exact = eager.results(eager.double(step), eager.in_double(batch()), step.randomness).gradients["hidden.bias"]
    assert float(exact.abs().max()) < 1e-15


def test_batches_have_zero_gradients_in_them() -> None:
    x, y = torch.randn(4, 2), torch.tensor([2, 0, 1, 1])
    kinds = check.batches((x, y))
    assert list(kinds) == ["the batch as given", "its first sample repeated", "inputs of zero"]
    assert torch.equal(kinds["inputs of zero"][0], torch.zeros(4, 2))
    assert torch.equal(kinds["inputs of zero"][1], torch.tensor([2, 2, 2, 2]))
    assert torch.equal(kinds["its first sample repeated"][0], x[:1].expand(4, 2))

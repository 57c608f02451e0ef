"""A step as ONNX files: what is in them, and that they train as the step does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sympy
import torch
from safetensors.torch import load_file

from modgrad import nn, optim
from modgrad.export.onnx.errors import ExportError
from modgrad.export.onnx.manifest import FreeSizes
from modgrad.step import TrainingStep
from tests.export.running import Files, exported, largest_difference, tensors

OPTIMIZERS: dict[str, Callable[[Any], optim.Optimizer]] = {
    "SGD": lambda p: optim.SGD(p, lr=0.1),
    "SGD with momentum": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=1e-2, nesterov=True),
    "Adam": lambda p: optim.Adam(p, lr=0.01),
    "AdamW": lambda p: optim.AdamW(p, lr=0.01),
}


def perceptron() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(2, 25), nn.ReLU(), nn.Linear(25, 25), nn.Tanh(), nn.Linear(25, 2))


def points(size: int = 10, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(size, 2, generator=generator), torch.randint(2, (size,), generator=generator)


def step_with(make: Callable[[Any], optim.Optimizer] = OPTIMIZERS["Adam"], **options: Any) -> TrainingStep:
    model = perceptron()
    return TrainingStep(model, nn.CrossEntropyLoss(), make(model.parameters()), **options)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_trains_as_the_step_does(name: str, tmp_path: Path) -> None:
    """20 steps, at other batch sizes and learning rates than it was exported with."""
    step = step_with(OPTIMIZERS[name])
    files = exported(step, tmp_path, *points())
    for number in range(20):
        batch, lr = points(1 + number % 7, seed=number), 0.05 / (number + 1)
        step.optimizer.param_groups[0]["lr"] = lr
        found = files.train(*batch, lr=lr)
        torch.testing.assert_close(found["loss"], step(*batch), rtol=2e-6, atol=2e-7)
    difference, where = largest_difference(files.state(), tensors(step))
    assert difference < 2e-6, where
    x, _ = points(5)
    step.model.eval()
    torch.testing.assert_close(files.predict(x)[0], torch.as_tensor(step.model(x).detach()), rtol=1e-5, atol=1e-6)


def test_files(tmp_path: Path) -> None:
    """What is written, and what the manifest says of it."""
    step = step_with()
    before = tensors(step)
    manifest = step.export_onnx(tmp_path / "mlp.onnx", *points())
    names = ["mlp.json", "mlp.onnx", "mlp.predict.onnx", "mlp.safetensors"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert manifest == json.loads((tmp_path / "mlp.json").read_text())
    assert (manifest["format"], manifest["version"], manifest["steps"]) == ("modgrad-training-step", 1, 1)
    assert [manifest[key] for key in ("model", "criterion", "optimizer")] == ["Sequential", "CrossEntropyLoss", "Adam"]
    assert manifest["numbers"] == [{"name": "lr", "input": "lr", "value": 0.01, "dtype": "float64", "shape": []}]
    assert manifest["batch"] == [
        {"input": "x", "shape": ["batch", 2], "dtype": "float32"},
        {"input": "y", "shape": ["batch"], "dtype": "int64"},
    ]
    assert manifest["loss"] == {"output": "loss", "shape": [], "dtype": "float32"}
    assert manifest["gradients"] == []
    assert manifest["predict"]["outputs"] == [{"output": "prediction", "shape": ["batch", 2], "dtype": "float32"}]
    kinds = {each["name"]: each["kind"] for each in manifest["state"]}
    assert kinds["0.weight"] == "parameter"
    assert kinds["0.weight.exp_avg"] == "optimizer"
    saved = load_file(tmp_path / "mlp.safetensors")
    assert saved.keys() == kinds.keys() == before.keys()
    assert largest_difference(saved, before)[0] == 0
    assert largest_difference(tensors(step), before)[0] == 0  # nothing of the step has changed
    assert (tmp_path / "mlp.onnx").stat().st_size < 10_000
    assert {domain for domain, _ in Files(tmp_path / "mlp.onnx").operators} == {""}


def test_gradients(tmp_path: Path) -> None:
    step = step_with()
    files = exported(step, tmp_path, *points(), gradients=True)
    x, y = points(seed=1)
    found = files.train(x, y)
    loss = step.criterion(step.model(x), y)
    loss.backward()
    for each in files.manifest["gradients"]:
        gradient = step.parameters()[each["name"]].grad_v
        torch.testing.assert_close(found[each["output"]], torch.as_tensor(gradient), rtol=1e-5, atol=1e-8)
    assert [each["name"] for each in files.manifest["gradients"]] == list(step.parameters())


class Rooted(nn.Module):
    """The square root, whose derivative at 0 is infinite."""

    def forward(self, x: Any) -> Any:
        return x.sqrt()


def test_relu_stops_an_infinite_gradient(tmp_path: Path) -> None:
    """As in PyTorch: 0 where x is not above 0, not 0 times infinity."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 25), nn.ReLU(), Rooted(), nn.Linear(25, 2))
    step = TrainingStep(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.01))
    files = exported(step, tmp_path, *points())
    for number in range(3):
        x, y = points(seed=number)
        torch.testing.assert_close(files.train(x, y)["loss"], step(x, y), rtol=2e-6, atol=2e-7)
    assert largest_difference(files.state(), tensors(step))[0] < 2e-6


def test_relu_between_affine_maps_takes_no_choice(tmp_path: Path) -> None:
    """Where the gradient is a product of matrices, its mask is a product too: onnxruntime takes long for `Where`."""
    model = perceptron()
    step = TrainingStep(model, nn.MSELoss(), optim.SGD(model.parameters(), lr=0.1))
    files = exported(step, tmp_path, points()[0], torch.randn(10, 2))
    assert ("", "Where") not in files.operators


def test_dropout_is_drawn_from_the_seed_that_the_graph_carries(tmp_path: Path) -> None:
    """The same masks as eagerly: a step with a seed of its own is keyed by it."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 40), nn.ReLU(), nn.Dropout(0.3), nn.Linear(40, 2))
    step = TrainingStep(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.1), seed=-(2**40) - 7)
    files = exported(step, tmp_path, *points())
    for number in range(5):
        found = files.train(*points(seed=number))
        torch.testing.assert_close(found["loss"], step(*points(seed=number)), rtol=2e-6, atol=2e-7)
    assert torch.equal(files.state()["seed"], torch.tensor([-(2**40) - 7, 5]))


def test_accumulation_clipping_and_frozen_parameters(tmp_path: Path) -> None:
    model = perceptron()
    list(model.modules())[1].freeze()
    step = TrainingStep(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters()), clip=0.1, accumulate=3)
    files = exported(step, tmp_path, *points())
    frozen = {each["input"] for each in files.manifest["tensors"] if each["output"] is None}
    assert frozen == {"0.weight", "0.bias"}
    for number in range(8):
        batch = points(seed=number)
        torch.testing.assert_close(files.train(*batch)["loss"], step(*batch), rtol=2e-6, atol=2e-7)
        assert largest_difference(files.state(), tensors(step))[0] < 1e-6


def test_groups_have_learning_rates_of_their_own(tmp_path: Path) -> None:
    model = perceptron()
    first, *rest = model.parameters()
    groups = [{"params": [first], "lr": 0.5}, {"params": rest}]
    step = TrainingStep(model, nn.CrossEntropyLoss(), optim.SGD(groups, lr=0.1))
    files = exported(step, tmp_path, *points())
    assert {each["name"]: each["value"] for each in files.manifest["numbers"]} == {"0.lr": 0.5, "1.lr": 0.1}
    for number, lr in enumerate((0.5, 0.25)):
        step.optimizer.param_groups[0]["lr"] = lr
        files.train(*points(seed=number), **{"0.lr": lr})
        step(*points(seed=number))
    assert largest_difference(files.state(), tensors(step))[0] < 1e-6


class Named(nn.Module):
    def __init__(self, name: str) -> None:
        super().__init__()
        setattr(self, name, nn.Parameter(torch.randn(2, 2)))
        self.name = name

    def forward(self, x: Any) -> Any:
        return x @ getattr(self, self.name)


class Masked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)

    def forward(self, x: Any, mask: Any) -> Any:
        return self.linear(x * mask)


def test_a_part_of_the_batch_that_is_broadcast(tmp_path: Path) -> None:
    """It is no sample: its size stays 1 beside as many samples as there are."""
    model = Masked()
    step = TrainingStep(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.1))
    (x, y), mask = points(), torch.tensor([[1.0, 0.5]])
    files = exported(step, tmp_path, x, mask, y)
    assert [each["shape"] for each in files.manifest["batch"]] == [["batch", 2], [1, 2], ["batch"]]
    for size in (1, 7):
        x, y = points(size)
        torch.testing.assert_close(files.train(x, mask, y)["loss"], step(x, mask, y), rtol=2e-6, atol=2e-7)


class Several(nn.Module):
    """Gives a tuple, of which one is not there."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)

    def forward(self, x: Any) -> Any:
        return self.linear(x), None, {"doubled": 2 * x}


class First(nn.Module):
    """The loss of the first output."""

    def __init__(self) -> None:
        super().__init__()
        self.criterion = nn.CrossEntropyLoss()

    def forward(self, outputs: Any, target: Any) -> Any:
        return self.criterion(outputs[0], target)


def test_several_outputs(tmp_path: Path) -> None:
    model = Several()
    step = TrainingStep(model, First(), optim.SGD(model.parameters(), lr=0.1))
    x, y = points()
    files = exported(step, tmp_path, x, y)
    logits, doubled = files.predict(x)
    torch.testing.assert_close(logits, torch.as_tensor(model(x)[0].detach()), rtol=1e-5, atol=1e-6)
    assert torch.equal(doubled, 2 * x)


def test_free_sizes_have_names() -> None:
    """Also where the name of one begins as that of another does."""

    def size(expression: sympy.Expr) -> Any:
        return SimpleNamespace(node=SimpleNamespace(expr=expression, maybe_as_int=lambda: None))

    a, b = sympy.symbols("s1 s10")
    sizes = FreeSizes()
    assert sizes.shape((size(a), 3, size(b))) == ["batch", 3, "batch2"]
    assert sizes.shape((size(2 * b), size(a + b))) == ["2*batch2", "batch + batch2"]


def test_refusals(tmp_path: Path) -> None:
    """What is refused leaves no file, and says what to write instead."""
    step, (x, y) = step_with(), points()
    with pytest.raises(ValueError, match=r"ends in \.onnx"):
        step.export_onnx(tmp_path / "mlp.pt", x, y)
    with pytest.raises(FileNotFoundError, match="no folder"):
        step.export_onnx(tmp_path / "there" / "mlp.onnx", x, y)
    with pytest.raises(ValueError, match="steps=3"):
        step.export_onnx(tmp_path / "mlp.onnx", x, y, steps=3)
    with pytest.raises(TypeError, match="batch holds"):
        step.export_onnx(tmp_path / "mlp.onnx", x, None)
    model = Named("x")
    other = TrainingStep(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises(ExportError, match="'x' would name two inputs"):
        other.export_onnx(tmp_path / "mlp.onnx", x, y)
    model = nn.Sequential(Named("seed"), nn.Dropout(), Named("other"))
    model.seed = model[0].seed  # in a flat tensor it is no input
    drawing = TrainingStep(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises(ExportError, match="'seed' would name two inputs"):
        drawing.export_onnx(tmp_path / "mlp.onnx", x, y, pack=True)
    with pytest.raises(TypeError, match=r"the batch is on meta.*\.to\('cpu'\)"):
        step.export_onnx(tmp_path / "mlp.onnx", x.to("meta"), y)
    step.model.bfloat16()
    with pytest.raises(TypeError, match=r"0\.weight is bfloat16.*model\.float"):
        step.export_onnx(tmp_path / "mlp.onnx", x, y)
    assert not list(tmp_path.iterdir())


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from modgrad.step import training

    monkeypatch.setattr(training, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install modgrad\[onnx\]"):
        step_with().export_onnx(tmp_path / "mlp.onnx", *points())

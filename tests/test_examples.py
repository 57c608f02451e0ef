"""The examples: that they learn what they say, and that their checks can fail."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import torch

from modgrad import nn, optim
from modgrad.helper import train_model

pytest.importorskip("sklearn")


@pytest.fixture(autouse=True)
def one_thread(monkeypatch) -> Iterator[None]:
    """As the examples run: their images are small, and more threads mostly wait for each other."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "examples"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def transfer() -> ModuleType:
    return import_module("transfer_digits")


@pytest.mark.parametrize("seed", [0, 1])
def test_the_residual_network_reads_digits(seed, capsys):
    accuracy = import_module("resnet_digits").main(seed, progress=False)
    assert accuracy >= 98.5
    assert f"seed {seed}: {accuracy:.1f} % of 500 test images right" in capsys.readouterr().out


def test_the_residual_networks_gradients_are_pytorchs():
    """Both kinds of skip, the plain and the strided one, against the same blocks written for PyTorch."""
    blocks = import_module("resnet_digits")
    block = nn.Sequential(blocks.Residual(2, 2), blocks.Residual(2, 4, stride=2)).double()
    weights = {name: value.clone().requires_grad_() for name, value in block.state_dict().items() if "weight" in name}
    x, upstream = torch.randn(3, 2, 8, 8).double(), torch.randn(3, 4, 4, 4).double()
    output = block(x)
    output.backward(upstream)

    def norm(value, name):
        weight, bias = weights[f"{name}.weight"], torch.zeros(value.shape[1], dtype=value.dtype)
        return torch.nn.functional.batch_norm(value, None, None, weight, bias, training=True)

    y = x
    for i, stride in enumerate((1, 2)):
        inner = norm(torch.conv2d(y, weights[f"{i}.body.0.weight"], None, stride, 1), f"{i}.body.1").relu()
        inner = norm(torch.conv2d(inner, weights[f"{i}.body.3.weight"], None, 1, 1), f"{i}.body.4")
        skip = norm(torch.conv2d(y, weights["1.skip.0.weight"], None, 2), "1.skip.1") if i else y
        y = (skip + inner).relu()
    y.backward(upstream)
    torch.testing.assert_close(output.detach(), y.detach(), rtol=1e-10, atol=1e-10)
    assert len(weights) == 10
    for name, weight in weights.items():
        torch.testing.assert_close(block.get_parameter(name).grad_v, weight.grad, rtol=1e-9, atol=1e-9)


def test_transfer_learns_the_other_digits_and_leaves_the_body_alone(transfer, capsys):
    figures = transfer.main(seed=0, progress=False)
    assert figures.source >= 98
    assert figures.before < 60
    assert figures.after >= 95
    assert figures.backward_learning > 0
    assert figures.backward_frozen == 0
    assert capsys.readouterr().out.count("  checked: ") == 6


def quick_fit(model, images, classes, progress):
    """In place of the example's first training, where that is not what a test looks at."""
    train_model(
        model,
        images[:100],
        classes[:100],
        optim.SGD(model.parameters()),
        nn.CrossEntropyLoss(),
        1,
        50,
        progress=progress,
    )


def test_transfer_finds_that_the_body_was_not_frozen(transfer, monkeypatch):
    monkeypatch.setattr(transfer, "fit", quick_fit)
    monkeypatch.setattr(nn.Module, "freeze", lambda self: self)
    with pytest.raises(RuntimeError, match="does not hold: all 36 parameters and statistics"):
        transfer.main(progress=False)


def test_transfer_finds_that_statistics_moved(transfer, monkeypatch):
    monkeypatch.setattr(transfer, "fit", quick_fit)
    monkeypatch.setattr(transfer.Transfer, "train", nn.Module.train)
    with pytest.raises(RuntimeError, match="does not hold: all 36 parameters and statistics"):
        transfer.main(progress=False)


def test_transfer_counts_every_backward_in_the_body(transfer):
    body = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    calls = transfer.count_backward(body)
    body(torch.randn(4, 2)).sum().backward()
    assert sorted(calls) == ["0.parameter_gradients", "1.backward", "2.backward", "2.parameter_gradients"]
    body.freeze()
    body(nn.Variable(torch.randn(4, 2))).sum().backward()  # an input that wants a gradient has it pass through
    assert sorted(calls[4:]) == ["0.backward", "1.backward", "2.backward"]


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.thorough)])
def test_an_own_model_is_trained_without_pytorch(seed, capsys, tmp_path):
    """4,000 steps of Adam, each of which rounds: a hundredth of one step's size."""
    pytest.importorskip("onnxruntime")
    figures = import_module("export_own_model").main(seed, tmp_path / "page")
    assert figures.errors <= 2
    assert figures.difference < 3e-5
    assert {file.suffix for file in (tmp_path / "page").glob("own.*")} == {".onnx", ".json", ".safetensors"}
    assert "the same scores" in capsys.readouterr().out

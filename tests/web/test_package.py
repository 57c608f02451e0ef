"""modgrad-web over onnxruntime-web in Node, held against onnxruntime in Python on the same exports and batches."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from modgrad import load, nn, optim
from modgrad.step import TrainingStep
from tests.web.reference import Reference

STEPS = 20
BATCH = 12


def mlp() -> nn.Module:
    # No bias before BatchNorm: its gradient is rounding alone, which Adam would make steps of.
    return nn.Sequential(nn.Linear(3, 8, bias=False), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4))


def dropped() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 4))


def double() -> nn.Module:
    return mlp().double()


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 3)), nn.Conv1d(1, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(24, 4)
    )


def strided() -> nn.Module:
    return nn.Sequential(
        nn.Linear(3, 16),
        nn.Unflatten(1, (1, 4, 4)),
        nn.Conv2d(1, 4, 3, stride=2, padding=1),
        nn.Flatten(),
        nn.Linear(16, 4),
    )


def pooled() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 16), nn.Unflatten(1, (4, 4)), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(8, 4))


def frozen() -> nn.Module:
    model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 4))
    model[0].freeze()
    return model


def adam(model: nn.Module) -> optim.Optimizer:
    return optim.Adam(model.parameters(), lr=0.01)


def sgd(model: nn.Module) -> optim.Optimizer:
    return optim.SGD(model.parameters(), lr=0.05, momentum=0.9)


def groups(model: nn.Module) -> optim.Optimizer:
    first, *others = model.parameters()
    return optim.SGD([{"params": [first], "lr": 0.1}, {"params": others}], lr=0.01)


# name: model, optimizer, how it is exported, whether the steps are given learning rates
CASES: dict[str, tuple[Callable[[], nn.Module], Callable[[nn.Module], optim.Optimizer], dict[str, Any], bool]] = {
    "mlp": (mlp, adam, {"gradients": True}, True),
    "packed": (mlp, sgd, {"pack": True}, False),
    "dropout": (dropped, adam, {}, False),
    "frozen": (frozen, sgd, {}, True),
    "groups": (mlp, groups, {}, False),
    "scan": (mlp, adam, {"steps": "scan"}, True),
    "double": (double, adam, {}, False),  # no GPU has float64
    "convolution": (convolutional, adam, {}, False),
    # Their backward has operators that onnxruntime-web 1.30 gets wrong on WebGPU, or does not have: right, or refused.
    "strided": (strided, sgd, {}, False),
    "pooled": (pooled, sgd, {}, False),
}


@pytest.fixture(scope="module")
def fixtures(node, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of each case, and what onnxruntime in Python makes of it."""
    folder: Path = tmp_path_factory.mktemp("exports")
    generator = np.random.default_rng(0)
    expected = {}
    for name, (make, optimizer, options, rates) in CASES.items():
        torch.manual_seed(0)
        model = make()
        step = TrainingStep(model, nn.CrossEntropyLoss(), optimizer(model))
        x = generator.normal(size=(STEPS, BATCH, 3)).astype("float32")
        y = generator.integers(0, 4, (STEPS, BATCH))
        scan = options.get("steps") == "scan"
        dtype = next(model.parameters()).dtype
        step.export_onnx(folder / f"{name}.onnx", torch.as_tensor(x[0]).to(dtype), torch.as_tensor(y[0]), **options)
        reference = Reference(folder / f"{name}.json")
        lr = 0.02 if rates else None
        losses = reference.step(x, y, lr) if scan else [reference.step(x[i], y[i], lr) for i in range(STEPS)]
        expected[name] = {
            "x": x.tolist(),
            "y": y.tolist(),
            "lr": lr,
            "losses": np.asarray(losses).tolist(),
            "prediction": reference.predict(x[0]).tolist(),
            "gradients": {key: value.ravel().tolist() for key, value in reference.gradients.items()},
            "state": {key: value.ravel().tolist() for key, value in reference.named().items()},
        }
    (folder / "expected.json").write_text(json.dumps(expected))
    return folder


def test_the_package_in_node(node, fixtures: Path) -> None:
    """What web/test/*.test.ts hold; and a file that it saves is read here."""
    node(FIXTURES=str(fixtures))
    saved = load(fixtures / "saved.safetensors")
    expected = json.loads((fixtures / "expected.json").read_text())["mlp"]["state"]
    assert saved.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(
            saved[name].ravel(), torch.tensor(value, dtype=saved[name].dtype), rtol=0, atol=1e-5, msg=name
        )


def test_the_package_on_webgpu(node, chromium, fixtures: Path) -> None:
    """In Chromium, on a GPU made of software."""
    node("webgpu", FIXTURES=str(fixtures))


def test_the_lock_file_names_no_host() -> None:
    lock = json.loads((Path(__file__).parents[2] / "web" / "package-lock.json").read_text())
    assert not [name for name, package in lock["packages"].items() if "resolved" in package]
    assert all("integrity" in package for name, package in lock["packages"].items() if name)

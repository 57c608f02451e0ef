"""The exported steps that the playground offers, and the digits: `python -m modgrad.playground.models` writes them.

Each model of `POINTS` is exported once with each optimizer of `OPTIMIZERS`, gradients and all; the model of `digits`
after it has been trained here on the handwritten digits of scikit-learn. `index.json` lists them for the page.
Needs the extras onnx and examples: pip install 'modgrad[onnx,examples]'.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from modgrad import nn, optim
from modgrad.helper import compute_nb_errors, generate_dataset, normalize, train_model
from modgrad.playground.server import PAGE
from modgrad.step import TrainingStep

__all__ = ["DIGITS", "OPTIMIZERS", "POINTS", "digits", "points", "write"]

Parameters = Iterable[nn.Parameter]


class Offer(NamedTuple):
    """A model that the page offers."""

    label: str
    about: str
    make: Callable[[], nn.Module]


class Rule(NamedTuple):
    """An optimizer that the page offers."""

    label: str
    make: Callable[[Parameters], optim.Optimizer]


def _hidden(*sizes: int, between: Callable[[int], Sequence[nn.Module]], bias: bool = True) -> nn.Module:
    """Linear layers, from 2 inputs through hidden ones of `sizes` to 2 scores; `between(size)` after each of these."""
    layers: list[nn.Module] = []
    before = 2
    for size in sizes:
        layers += [nn.Linear(before, size, bias), *between(size)]
        before = size
    return nn.Sequential(*layers, nn.Linear(before, 2))


POINTS = {
    "relu": Offer(
        "Small, ReLU",
        "Three hidden layers of 25 with ReLU: the boundary is made of straight pieces.",
        lambda: _hidden(25, 25, 25, between=lambda _: [nn.ReLU()]),
    ),
    "tanh": Offer(
        "Small, tanh",
        "Three hidden layers of 25 with tanh: the boundary is smooth.",
        lambda: _hidden(25, 25, 25, between=lambda _: [nn.Tanh()]),
    ),
    "wide": Offer(
        "Wide, ReLU",
        "Two hidden layers of 128 with ReLU, for the spirals.",
        lambda: _hidden(128, 128, between=lambda _: [nn.ReLU()]),
    ),
    "batchnorm": Offer(
        "With BatchNorm",
        "BatchNorm before each ReLU: trained by each batch's own mean and variance, tested by the running ones.",
        # which has a bias of its own
        lambda: _hidden(25, 25, 25, between=lambda size: [nn.BatchNorm1d(size), nn.ReLU()], bias=False),
    ),
    "dropout": Offer(
        "With dropout",
        "A tenth of each hidden layer is dropped at random in training; the seed is part of the state.",
        lambda: _hidden(64, 64, between=lambda _: [nn.ReLU(), nn.Dropout(0.1)]),
    ),
}
OPTIMIZERS = {
    "adam": Rule("Adam", lambda parameters: optim.Adam(parameters, lr=0.005)),
    "adamw": Rule("AdamW, weight decay 0.01", lambda parameters: optim.AdamW(parameters, lr=0.005, weight_decay=0.01)),
    "sgd": Rule("SGD, momentum 0.9", lambda parameters: optim.SGD(parameters, lr=0.05, momentum=0.9)),
}
TRAIN = 1297  # of the 1797 digits; the other 500 are the test
EPOCHS = 40


def write(folder: Path) -> dict[str, Any]:
    """Export all into `folder`, and say in index.json what is there, which is returned. What was there goes."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    # A process for each model of points: an export traces, lowers and checks, on one core.
    with ProcessPoolExecutor(min(os.cpu_count() or 1, len(POINTS)), get_context("spawn")) as pool:
        listed = pool.map(partial(points, folder), POINTS)
        index = {"digits": digits(folder), "points": list(listed)}
    (folder / "index.json").write_text(json.dumps(index, indent=1) + "\n")
    return index


def points(folder: Path, name: str) -> dict[str, Any]:
    """Export this model of `POINTS` with every optimizer, from the same initial weights."""
    torch.set_num_threads(1)  # the matrices are small: more threads mostly wait for each other
    inputs, targets = generate_dataset(100, torch.Generator().manual_seed(0))
    inputs, _ = normalize(inputs, inputs)
    offer = POINTS[name]
    exports = []
    for key, rule in OPTIMIZERS.items():
        torch.manual_seed(0)
        model = offer.make()
        exports.append(_export(folder / f"{name}-{key}.onnx", key, rule, model, inputs, targets))
    return _described(name, offer, model, exports)


def convolutional() -> nn.Module:
    """A small convolutional network for images (N, 64), 8 by 8 pixels."""
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        nn.Conv2d(1, 12, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(12, 24, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(24 * 4 * 4, 10),
    )


DIGITS = Offer("Convolutions", "Two layers of convolutions, trained in Python on handwritten digits.", convolutional)


def digits(folder: Path) -> dict[str, Any]:
    """Train the model of the digits, export it as it is then, and write the digits beside it.

    digits-data.safetensors holds `images`, uint8 (1797, 64) from 0 to 16, `labels`, uint8 (1797), and `train`, int64:
    how many of them, from the first, are to train on.
    """
    from safetensors.torch import save  # noqa: PLC0415
    from sklearn.datasets import load_digits  # type: ignore[import-untyped]  # noqa: PLC0415

    bunch = load_digits()
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(bunch.target), generator=generator)
    images, labels = torch.as_tensor(bunch.data)[order].to(torch.uint8), torch.as_tensor(bunch.target)[order]
    inputs = images / 16.0  # as the page gives them
    torch.manual_seed(0)
    model = DIGITS.make()
    optimizer = optim.Adam(model.parameters(), lr=0.003)
    criterion = nn.CrossEntropyLoss()
    train_model(model, inputs[:TRAIN], labels[:TRAIN], optimizer, criterion, EPOCHS, 64, generator, progress=False)
    rule = Rule("SGD, momentum 0.9", lambda parameters: optim.SGD(parameters, lr=0.01, momentum=0.9))
    export = _export(folder / "digits.onnx", "sgd", rule, model, inputs[:32], labels[:32])
    tensors = {"images": images, "labels": labels.to(torch.uint8), "train": torch.tensor([TRAIN])}
    (folder / "digits-data.safetensors").write_bytes(save(tensors))
    errors = compute_nb_errors(model, inputs[TRAIN:], labels[TRAIN:])
    error = 100 * errors / (len(labels) - TRAIN)
    return {**_described("digits", DIGITS, model, [export]), "data": "digits-data.safetensors", "error": error}


def _export(path: Path, key: str, rule: Rule, model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Any]:
    optimizer = rule.make(model.parameters())
    TrainingStep(model, nn.CrossEntropyLoss(), optimizer).export_onnx(path, x, y, gradients=True, pack=True)
    manifest = path.with_suffix(".json").name
    return {"id": key, "label": rule.label, "manifest": manifest, "lr": optimizer.param_groups[0]["lr"]}


def _described(name: str, offer: Offer, model: nn.Module, exports: list[dict[str, Any]]) -> dict[str, Any]:
    """A row of the index, as web/playground/catalogue.ts reads it."""
    layers = [
        {"name": key, "text": _brief(module)}
        for key, module in model.named_modules()
        if next(module.parameters(False), None) is not None
    ]
    return {
        "id": name,
        "label": offer.label,
        "about": offer.about,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "layers": layers,
        "optimizers": exports,
    }


def _brief(module: nn.Module) -> str:
    """Linear(in_features=2, out_features=25, bias=True) as Linear(2, 25)."""
    names = ("in_features", "out_features", "in_channels", "out_channels", "num_features")
    return (
        f"{type(module).__name__}({', '.join(str(getattr(module, name)) for name in names if hasattr(module, name))})"
    )


def main() -> int:
    """`python -m modgrad.playground.models`: write them into the package, for the page."""
    torch.set_num_threads(1)
    index = write(PAGE / "models")
    count = sum(len(model["optimizers"]) for model in index["points"])
    sys.stdout.write(f"{count} steps of points; digits, of which {index['digits']['error']:.1f} % are read wrong\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

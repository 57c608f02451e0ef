"""Writes what `train.cpp` trains: two models and their data.

    python examples/cpp/export_models.py FOLDER [--onnx]

disc: is a point inside of the disc? A perceptron with Adam. digits: a convolutional network with batch norm and dropout
on scikit-learn's digits, images of 8 by 8 pixels.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from modgrad import nn, optim, save
from modgrad.helper import generate_dataset, normalize
from modgrad.step import TrainingStep

Batch = tuple[Tensor, Tensor]


class Task(NamedTuple):
    """What is learnt: the step, its data, how many samples it takes at a time."""

    step: TrainingStep
    train: Batch
    test: Batch
    batch_size: int


def disc() -> Task:
    generator = torch.Generator().manual_seed(0)
    (x, y), (test_x, test_y) = (generate_dataset(1000, generator) for _ in range(2))
    x, test_x = normalize(x, test_x)
    hidden = [layer for _ in range(2) for layer in (nn.Linear(25, 25), nn.ReLU())]
    model = nn.Sequential(nn.Linear(2, 25), nn.ReLU(), *hidden, nn.Linear(25, 2))
    step = TrainingStep(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=0.003))
    return Task(step, (x, y), (test_x, test_y), batch_size=100)


def digits() -> Task:
    from sklearn.datasets import load_digits  # noqa: PLC0415 (the disc does without)

    pixels, classes = load_digits(return_X_y=True)
    order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(0))
    x = (torch.as_tensor(pixels, dtype=torch.float32).reshape(-1, 1, 8, 8) / 8 - 1)[order]
    y = torch.as_tensor(classes, dtype=torch.int64)[order]
    model = nn.Sequential(  # (N, 1, 8, 8)
        *(nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),  # (N, 16, 4, 4)
        *(nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)),  # (N, 32, 2, 2)
        *(nn.Flatten(), nn.Dropout(0.2), nn.Linear(128, 10)),
    )
    step = TrainingStep(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.05, momentum=0.9), seed=0)
    return Task(step, (x[500:], y[500:]), (x[:500], y[:500]), batch_size=50)


TASKS: dict[str, Callable[[], Task]] = {"disc": disc, "digits": digits}


def make(name: str) -> Task:
    """The task of this name, the same at each call."""
    torch.manual_seed(0)
    return TASKS[name]()


def export(folder: Path, name: str, onnx: bool = False) -> Task:
    """Write a task into `folder`: its data and its step, for libtorch or for onnxruntime."""
    task = make(name)
    batch = tuple(part[: task.batch_size] for part in task.train)
    data = {"train": dict(zip("xy", task.train, strict=True)), "test": dict(zip("xy", task.test, strict=True))}
    save({**data, "batch_size": torch.tensor(task.batch_size)}, folder / f"{name}.data.safetensors")
    if onnx:  # packed: the parameters are many and small, and so one update of all of them is faster
        task.step.export_onnx(folder / f"{name}.onnx", *batch, pack=True)
    else:
        task.step.export_aoti(folder / f"{name}.pt2", *batch, pack=True)
    return task


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--onnx", action="store_true", help="for onnxruntime: .onnx files in place of .pt2 packages")
    options = parser.parse_args()
    torch.set_num_threads(1)  # so many the packages are for: the models are small
    options.folder.mkdir(parents=True, exist_ok=True)
    for name in TASKS:
        export(options.folder, name, options.onnx)
        print(options.folder / f"{name}.{'onnx' if options.onnx else 'pt2'}")


if __name__ == "__main__":
    main()

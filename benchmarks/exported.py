"""A training step exported as ONNX, run by onnxruntime through modgrad's client."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

import modgrad.nn
import modgrad.optim
from benchmarks.harness import Step
from benchmarks.training import Task, data, later, parts


def by_onnxruntime(task: Task, steps: int = 1, pack: bool = False) -> tuple[Step, Callable[[], Any]]:
    """steps: in a call; several are a loop within the graph. pack: the state in few flat tensors."""
    step = later("modgrad.step", "TrainingStep", *parts(modgrad.nn, modgrad.optim, task))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "step.onnx"
        step.export_onnx(path, *data(task), steps=1 if steps == 1 else "scan", pack=pack)
        trainer = later("modgrad.export", "OnnxTrainer", path, threads=torch.get_num_threads())
    initial = trainer.state
    inputs, targets = (value.numpy() for value in data(task, steps))
    return lambda: trainer.step(inputs, targets), partial(trainer.assign, initial)

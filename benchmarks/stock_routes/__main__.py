"""python -m benchmarks.stock_routes: runs each route on each model in a process of its own, and prints the table."""

from __future__ import annotations

import argparse
import json
import logging
import math
import re
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import modgrad
from benchmarks.stock_routes import recipe, routes
from benchmarks.stock_routes.models import SUBJECTS, Subject, made
from benchmarks.stock_routes.step import LR, truth
from modgrad.export import OnnxTrainer

STEPS = 100


def by_modgrad(subject: Subject, path: Path) -> routes.Run:
    """TrainingStep.export_onnx, of the same model from the same weights."""
    given, batch = made(subject)
    model = subject.model(modgrad.nn)
    model.load_state_dict(given.state_dict())
    optimizer = modgrad.optim.Adam(model.parameters(), lr=LR)
    modgrad.step.TrainingStep(model, modgrad.nn.CrossEntropyLoss(), optimizer).export_onnx(path, *batch)
    trainer = OnnxTrainer(path, threads=1)
    x, y = (value.numpy() for value in batch)
    return lambda steps: ([trainer.step(x, y) for _ in range(steps)], trainer.state)[::-1]


ROUTES: dict[str, tuple[str, Callable[[Subject, Path], routes.Run]]] = {
    "autograd": ("`torch.onnx.export` of `torch.autograd.grad` and an update in `forward`", routes.autograd_grad),
    "traced": ("the same by `torch.export`, strict, with dynamo's `trace_autograd_ops`", routes.traced_autograd),
    "func": ("`torch.onnx.export` of `torch.func.grad` and an update in `forward`", routes.func_grad),
    "torchscript": ("`torch.onnx.export(dynamo=False)`, TorchScript, of `torch.autograd.grad`", routes.torchscript),
    "loop": ("`torch.export` of `loss.backward()` and `optimizer.step()`", routes.in_place),
    "joint": ("`torch.export.experimental._export_forward_backward`", routes.joint),
    "make_fx": ("`make_fx` of `torch.func.grad` and an update", routes.make_fx),
    "hand": ("by hand: `make_fx`, a table of decompositions, numbers as tensors", recipe.by_hand),
    "modgrad": ("modgrad: `step.export_onnx`", by_modgrad),
}


@dataclass(frozen=True)
class Outcome:
    """error: of the export. difference: the largest of a parameter to autograd's; None if none come out of the file."""

    error: str | None
    difference: float | None = None

    def __str__(self) -> str:
        if self.error is not None:
            return f"fails: {self.error}"
        if self.difference is None:
            return "exports the loss alone, the weights stay as they are"
        if not self.difference < LR:  # not one step of Adam away
            return f"exports, **wrong in silence**: {self.difference:.1g}"
        return f"{self.difference:.1e}"


def outcome(route: str, subject: str) -> Outcome:
    """Of a route on a model, in this process."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        try:
            run = ROUTES[route][1](SUBJECTS[subject], Path(folder) / "step.onnx")
        except Exception as error:
            return Outcome(told(error))
        model, batch = made(SUBJECTS[subject])
        wanted, _ = truth(model, batch, STEPS)
        found, _ = run(STEPS)
    if found is None:
        return Outcome(None)
    differences = [float((torch.as_tensor(found[name]) - value).abs().max()) for name, value in wanted.items()]
    return Outcome(None, math.nan if any(map(math.isnan, differences)) else max(differences))


def told(error: Exception) -> str:
    """What an error says, in short: of the exporter's long ones the first cause that it names."""
    found = re.search(r"<class '[\w.]*?(\w+)'>: (.+)", str(error))
    kind, words = found.groups() if found else (type(error).__name__, str(error).strip().split("\n")[0])
    words = re.sub(r"<OpOverload\(op='([\w.]+)'[^>]*>", r"`\1`", words).split(". ")[0].replace("|", "\\|")
    return f"{kind}: {words if len(words) <= 90 else words[:87] + '...'}"


def apart(route: str, subject: str) -> Outcome:
    """The same in a process of its own, since some end it."""
    command = [sys.executable, "-m", "benchmarks.stock_routes", "--one", route, subject]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return Outcome(f"the process ends with status {done.returncode}")
    return Outcome(**json.loads(done.stdout.strip().splitlines()[-1]))


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.stock_routes", description=__doc__)
    parser.add_argument(
        "--routes", nargs="+", choices=ROUTES, default=[*ROUTES], metavar="ROUTE", help=", ".join(ROUTES)
    )
    parser.add_argument("--models", nargs="+", choices=SUBJECTS, default=[*SUBJECTS], help=", ".join(SUBJECTS))
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one:
        result: Any = outcome(*options.one)
        sys.stdout.write(f"\n{json.dumps(result.__dict__)}\n")
        return
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "onnx", "onnxscript", "onnxruntime"))
    sys.stdout.write(f"Largest difference of a parameter to autograd's after {STEPS} steps of Adam. {versions}.\n\n")
    sys.stdout.write(f"| route | {' | '.join(SUBJECTS[name].title for name in options.models)} |\n")
    sys.stdout.write(f"| --- |{' --- |' * len(options.models)}\n")
    for route in options.routes:
        cells = [str(apart(route, subject)) for subject in options.models]
        if len({*cells}) == 1 and len(cells) > 1 and cells[0].startswith("fails"):
            cells = [cells[0], *(["the same"] * (len(cells) - 1))]
        sys.stdout.write(f"| {ROUTES[route][0]} | {' | '.join(cells)} |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])

"""`export_aoti`: a training step as an AOTInductor package, machine code that libtorch runs from C++ without Python.

A package holds two models: "step", (state, learning rates, batch) -> (new state, loss), and "predict", (parameters and
buffers, inputs) -> prediction. State is never changed in place: a client keeps it, and gives what came out back in.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save
from torch import Tensor
from torch.utils import _pytree as pytree

from modgrad.export.aoti import batches
from modgrad.export.aoti.check import check, check_prediction, compare, duplicate
from modgrad.export.aoti.program import predict_program, step_program
from modgrad.export.onnx import layout
from modgrad.export.onnx.errors import ExportError
from modgrad.export.onnx.files import draft
from modgrad.export.onnx.manifest import VERSION, FreeSizes, described, dtype_name
from modgrad.export.onnx.program import Programs
from modgrad.graph.errors import describe
from modgrad.step import inductor
from modgrad.step.native import DTYPES, refuse_without_compiler
from modgrad.step.quiet import quiet
from modgrad.step.training import parts

if TYPE_CHECKING:
    from modgrad.step.training import TrainingStep

FORMAT = "modgrad-training-step-aoti"


def export_aoti(
    step: TrainingStep, path: str | os.PathLike[str], *batch: Any, dynamic: bool | None = None, pack: bool = False
) -> dict[str, Any]:
    """Write the package, with its manifest and the state beside it. See TrainingStep.export_aoti."""
    parts(batch)
    files = _names(path)
    refuse_without_compiler()
    _refuse_unfit(step, batch)
    batch = pytree.tree_map(lambda x: batches.in_rows(x.detach()), batch)
    twin = duplicate(step)
    twin.scheduler = None  # the learning rate is the client's to give
    package = _Package(twin, batch, dynamic, pack)
    with draft(path) as folder:
        inductor.package({"step": package.step.exported, "predict": package.predict.exported}, folder / files["step"])
        package.check(folder / files["step"])
        manifest = package.manifest(files)
        (folder / files["manifest"]).write_text(json.dumps(manifest, indent=1) + "\n")
        state = {each.name: each.tensor.clone(memory_format=torch.contiguous_format) for each in package.named}
        (folder / files["state"]).write_bytes(save(state, {"format": "pt"}))
    return manifest


class _Package:
    """The two programs, and what is known about them."""

    def __init__(self, step: TrainingStep, batch: tuple[Any, ...], dynamic: bool | None, pack: bool) -> None:
        self.of, self.batch = step, batch
        programs = Programs(step, batch, pack)
        self.named = layout.named(programs.named)
        self.step = step_program(programs, batch, dynamic)
        self.predict = predict_program(programs, batch[:-1], dynamic or None)  # for one size it would gain little
        self.sizes, self.predict_sizes = self.step.sizes, self.predict.sizes
        x, y = (pytree.tree_leaves(part) for part in (batch[:-1], batch[-1]))
        self.x, self.y = _numbered("x", len(x)), _numbered("y", len(y))
        counted = Counter([*(held.input for held in self.step.held), *self.step.numbers, *self.x, *self.y])
        if twice := [name for name, n in counted.items() if n > 1]:
            raise ExportError(
                f"{', '.join(map(repr, twice))} would name two inputs of the step: give the module's parameter or "
                "buffer another name"
            )

    def check(self, package: Path) -> None:
        """Hold the package against the eager step, at several batch sizes."""
        with quiet():
            from torch._inductor.package.package import load_package  # noqa: PLC0415 (takes seconds to import)

            stepping, predicting = (load_package(str(package), name) for name in ("step", "predict"))
        shapes = {each.name: each.tensor.shape for each in self.named}

        def run(state: dict[str, Tensor], rates: list[Tensor], batch: Any) -> tuple[dict[str, Tensor], Tensor]:
            given = {held.input: layout.filled(held, state) for held in self.step.held}
            *new, loss = stepping(list(given.values()), (rates, batch))
            given |= dict(zip(self.step.changed, new, strict=True))
            for held in self.step.held:
                state = {**state, **layout.taken_apart(held, given[held.input], shapes)}
            return state, loss

        def predict(inputs: Any) -> list[Tensor]:
            return list(predicting(self.predict.state, ([], inputs)))

        def hold(size: int) -> None:
            compare(self.of, run, [batches.resized(self.batch, size)])

        def hold_prediction(size: int) -> None:
            check_prediction(self.of, predict, batches.resized(self.batch[:-1], size))

        with torch.no_grad(), quiet():
            check(self.of, run, self.batch)
            check_prediction(self.of, predict, self.batch[:-1])
            self.sizes = batches.tried(self.sizes, self.batch, hold)
            self.predict_sizes = batches.tried(self.predict_sizes, self.batch[:-1], hold_prediction)

    def manifest(self, files: dict[str, str]) -> dict[str, Any]:
        step, shapes = self.of, FreeSizes()
        *_, loss = self.step.results
        return {
            "format": FORMAT,
            "version": VERSION,
            "modgrad": sys.modules[__name__.partition(".")[0]].__version__,
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),  # that the code is for
            "model": type(step.model).__name__,
            "criterion": type(step.criterion).__name__,
            "optimizer": type(step.optimizer).__name__,
            "steps": 1,
            "files": {key: files[key] for key in ("step", "predict", "state")},
            "state": [layout.entry(each) for each in self.named],
            "tensors": [
                {
                    "input": held.input,
                    "output": f"new.{held.input}" if held.input in self.step.changed else None,
                    "shape": list(held.tensor.shape),
                    "dtype": dtype_name(held.tensor.dtype),
                    "holds": [{"name": name, "offset": offset} for name, offset in held.holds],
                }
                for held in self.step.held
            ],
            "numbers": [
                {"name": name, "input": name, "value": rate, "dtype": "float64", "shape": []}
                for name, rate in zip(self.step.numbers, _rates(step), strict=True)
            ],
            "batch": _ports([*self.x, *self.y], "input", self.step.batch, shapes),
            "batch_sizes": batches.told(self.sizes),
            "loss": described("loss", "output", tuple(loss.shape), loss.dtype),
            "gradients": [],
            "predict": self._prediction(),
        }

    def _prediction(self) -> dict[str, Any]:
        shapes = FreeSizes()
        outputs = self.predict.results
        return {
            "state": [held.input for held in self.predict.held],
            "batch": _ports(self.x, "input", self.predict.batch, shapes),
            "batch_sizes": batches.told(self.predict_sizes),
            "outputs": _ports(_numbered("prediction", len(outputs)), "output", outputs, shapes),
        }


def _ports(names: Sequence[str], key: str, tensors: Sequence[Tensor], shapes: FreeSizes) -> list[dict[str, Any]]:
    return [described(n, key, shapes.shape(tuple(x.shape)), x.dtype) for n, x in zip(names, tensors, strict=True)]


def _numbered(name: str, count: int) -> list[str]:
    """name, or where there are several name0, name1, ..."""
    return [name] if count == 1 else [f"{name}{i}" for i in range(count)]


def _rates(step: TrainingStep) -> list[float]:
    return [float(group["lr"]) for group in step.optimizer.param_groups]


def _refuse_unfit(step: TrainingStep, batch: Sequence[Any]) -> None:
    for x in pytree.tree_leaves(batch):
        if not isinstance(x, Tensor) or x.device.type != "cpu" or x.dtype not in DTYPES:
            raise TypeError(
                f"export_aoti takes a batch of tensors on the CPU, of usual dtypes, in tuples, lists and dicts; got "
                f"{describe(x)}{f' on {x.device}' if isinstance(x, Tensor) else ''}. Convert it, or keep what does not "
                "change with the batch in the model"
            )
    for place in step.places():
        if place.get().device.type != "cpu" or place.get().dtype not in DTYPES:
            raise TypeError(
                f"{place.name} is {describe(place.get())} on {place.get().device}: export_aoti is for usual dtypes on "
                "the CPU. Move the model with .to('cpu')"
            )


def _names(path: str | os.PathLike[str]) -> dict[str, str]:
    """What the files for "mlp.pt2" are called. The manifest has another name than that of an ONNX file "mlp.onnx"."""
    target = Path(path)
    if target.suffix != ".pt2" or not target.stem:
        raise ValueError(f"export_aoti({str(path)!r}): expected a name that ends in .pt2, as in 'mlp.pt2'")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"export_aoti({str(path)!r}): there is no folder {target.parent}")
    name = target.name
    return {"step": name, "predict": name, "manifest": f"{name}.json", "state": f"{target.stem}.safetensors"}

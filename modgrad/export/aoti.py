"""A training step as an AOTInductor package: machine code that libtorch runs from C++, without Python.

A package holds two models: "step", (state, learning rates, batch) -> (new state, loss), and "predict", (parameters and
buffers, inputs) -> prediction. State is never changed in place: a client keeps it, and gives what came out back in.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from modgrad.export import manifest
from modgrad.export.check import ExportError, check, check_prediction, compare, resized
from modgrad.export.flat import FlatPrediction, FlatStep, entries
from modgrad.graph.errors import describe
from modgrad.interop.exporting import Program
from modgrad.step import inductor
from modgrad.step.dryrun import UntraceableError, dry_run
from modgrad.step.locate import locating
from modgrad.step.native import DTYPES, refuse_without_compiler
from modgrad.step.program import exporting
from modgrad.step.quiet import quiet
from modgrad.step.training import parts

if TYPE_CHECKING:
    from modgrad.step.training import TrainingStep

FORMAT = "modgrad-training-step-aoti"
Sizes = tuple[int, int]
_NO_END = 2**62


def export_aoti(
    step: TrainingStep, path: str | os.PathLike[str], batch: tuple[Any, ...], dynamic: bool | None = None
) -> Path:
    """Write `path`, a .pt2 package, with its manifest and the state beside it. See TrainingStep.export_aoti."""
    target = _target(path)
    refuse_without_compiler()
    inputs, label = parts(batch)
    batch = (*inputs, label)
    _refuse_unfit(step, batch)
    batch = pytree.tree_map(lambda x: x.detach().contiguous(), batch)
    made = _Made(step, batch, dynamic)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.stem}-") as folder:
        draft = Path(folder)
        package, about, state = (draft / place.name for place in (target, *beside(target)))
        inductor.package({"step": made.step, "predict": made.predict}, package)
        made.check(package)
        about.write_text(json.dumps(made.manifest(target), indent=1) + "\n")
        _write_state(step, state)
        for file, place in zip((package, about, state), (target, *beside(target)), strict=True):
            file.replace(place)
    return target


def beside(package: Path) -> tuple[Path, Path]:
    """Where a package's manifest is, and its state. The manifest of an ONNX file of this name is another one."""
    return package.with_name(f"{package.name}.json"), package.with_suffix(".safetensors")


class _Made:
    """The two programs, exported, and what is known about them."""

    def __init__(self, step: TrainingStep, batch: tuple[Any, ...], dynamic: bool | None) -> None:
        self.of, self.batch = step, batch
        names = step.names()
        state = [entry.tensor for entry in step.prepared(lambda: _dry(step, batch))]
        self.flat = FlatStep(step)
        self.prediction = FlatPrediction(step, self.flat.entries)
        weights = [entry.tensor for entry in self.prediction.entries]
        dry_run(names, self.prediction, weights, [], batch[:-1])
        given = (self.flat.numbers(), batch)
        self.step, self.sizes = self._exported(self.flat, state, given, dynamic)
        self.predict, self.predict_sizes = self._exported(self.prediction, weights, ([], batch[:-1]), dynamic)

    def _exported(self, function: Any, state: list[Tensor], rest: Any, dynamic: bool | None) -> tuple[Any, Sizes]:
        """The program, for every batch size if the model allows it, and the smallest and largest that it takes."""
        if dynamic is not False:
            try:
                exported = self._traced(function, state, rest, dynamic=True)
                sizes = inductor.sizes(exported)
            except UntraceableError:
                if dynamic:
                    raise
                sizes = 2, 0
            if sizes[0] <= sizes[1]:
                return self._decomposed(exported), sizes
            if dynamic:
                raise ExportError(
                    "export_aoti(dynamic=True): the model allows only the batch size that it was given. Where it makes "
                    "a Python number of x.shape[0], as reshape(32, ...) does, write -1; or leave out dynamic=True"
                )
        return self._decomposed(self._traced(function, state, rest, dynamic=False)), (2, 0)

    def _decomposed(self, exported: Any) -> Any:
        with exporting(self.of.names()):
            return exported.run_decompositions({})

    def _traced(self, function: Any, state: list[Tensor], rest: Any, dynamic: bool) -> Any:
        names = self.of.names()
        numbers, batch = rest
        of_batch = pytree.tree_map(lambda x: {0: torch.export.Dim.AUTO} if dynamic and x.dim() else None, batch)
        if dynamic and _size(batch) == 1:  # which torch.export would take for a constant
            batch = resized(batch, 2)
        program = Program(lambda leaves, others: function(leaves, *others))
        shapes = ([None] * len(state), ([None] * len(numbers), of_batch))
        with locating(names), exporting(names):
            return torch.export.export(program, (state, (numbers, batch)), dynamic_shapes=shapes, strict=False)

    def check(self, package: Path) -> None:
        """Hold the package against the eager step, at several batch sizes."""
        with quiet():
            from torch._inductor.package.package import load_package  # noqa: PLC0415

            stepping, predicting = load_package(str(package), "step"), load_package(str(package), "predict")

        def run(state: dict[str, Tensor], rates: list[Tensor], batch: Any) -> tuple[dict[str, Tensor], Tensor]:
            *new, loss = stepping([state[entry.name] for entry in self.flat.entries], (rates, batch))
            return {**state, **dict(zip(self.flat.changed, new, strict=True))}, loss

        weights = [entry.tensor for entry in self.prediction.entries]

        def predict(inputs: Any) -> list[Tensor]:
            return list(predicting(weights, ([], inputs)))

        inputs = self.batch[:-1]
        with torch.no_grad(), quiet():
            check(self.of, run, self.batch)
            check_prediction(self.of, predict, inputs)
            self.sizes = _tried(self.sizes, self.batch, lambda size: compare(self.of, run, [resized(self.batch, size)]))
            self.predict_sizes = _tried(
                self.predict_sizes, inputs, lambda size: check_prediction(self.of, predict, resized(inputs, size))
            )

    def manifest(self, target: Path) -> dict[str, Any]:
        x, y = (pytree.tree_leaves(part) for part in (self.batch[:-1], self.batch[-1]))
        named = [*manifest.numbered("x", len(x)), *manifest.numbered("y", len(y))]
        *_, loss = _results(self.step)
        outputs = _results(self.predict)
        held = len(self.flat.entries) + len(self.flat.rates)
        return {
            **manifest.heading(self.of, FORMAT),
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "steps": 1,
            "files": {
                "step": target.name,
                "predict": target.name,
                "state": beside(target)[1].name,
            },
            "models": {"step": "step", "predict": "predict"},
            **manifest.state(self.flat),
            "batch": manifest.inputs(named, [*x, *y], _shapes(self.step, held)),
            "batch_sizes": _told(self.sizes),
            "loss": {"output": "loss", **manifest.described(loss)},
            "gradients": [],
            "predict": {
                "state": manifest.names_of(self.prediction.entries),
                "batch": manifest.inputs(named[: len(x)], x, _shapes(self.predict, len(self.prediction.entries))),
                "batch_sizes": _told(self.predict_sizes),
                "outputs": [
                    {"output": name, **manifest.described(value, _shape(value))}
                    for name, value in zip(manifest.numbered("prediction", len(outputs)), outputs, strict=True)
                ],
            },
        }


def _dry(step: TrainingStep, batch: Any) -> Any:
    flat = FlatStep(step)
    dry_run(step.names(), flat, [entry.tensor for entry in flat.entries], flat.numbers(), batch)
    return entries(step)


def _tried(sizes: Sizes, batch: Any, holds: Callable[[int], None]) -> Sizes:
    """The batch sizes of a program, after it has been held at another one; and at 1, which the exporter leaves open."""
    low, high = sizes
    given = _size(batch)
    if low > high or given is None:
        return (given, given) if given is not None else (1, _NO_END)
    try:
        holds(given + 1 if given < high else given - 1)
    except ExportError:
        raise
    except Exception:  # a size that the step itself refuses, as an odd one
        pass
    if low == 2:
        try:
            holds(1)
            low = 1
        except Exception:  # as batch norm refuses it, or the program is wrong for it
            pass
    return low, high


def _told(sizes: Sizes) -> list[int | None]:
    """The smallest and the largest batch size, None where there is no largest."""
    return [sizes[0], sizes[1] if sizes[1] < _NO_END else None]


def _size(batch: Any) -> int | None:
    """How many samples a batch has."""
    return next((x.shape[0] for x in pytree.tree_leaves(batch) if x.dim()), None)


def _results(exported: Any) -> list[Tensor]:
    """What a program gives, without values."""
    return [node.meta["val"] for node in exported.graph.output_node().args[0]]


def _shapes(exported: Any, first: int) -> list[manifest.Shape]:
    """The shapes of a program's inputs, from the one with this number on."""
    given = {spec.arg.name for spec in exported.graph_signature.input_specs if spec.kind.name == "USER_INPUT"}
    nodes = [node for node in exported.graph.nodes if node.op == "placeholder" and node.name in given]
    return [_shape(node.meta["val"]) for node in nodes[first:]]


def _shape(value: Tensor) -> manifest.Shape:
    """Sizes, of which a free one is "batch", or what follows from it."""
    shape: manifest.Shape = []
    for size in value.shape:
        if isinstance(size, int):
            shape.append(size)
            continue
        text = str(size.node.expr)
        for symbol in size.node.expr.free_symbols:
            text = text.replace(str(symbol), "batch")
        shape.append(text)
    return shape


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


def _write_state(step: TrainingStep, path: Path) -> None:
    from safetensors.torch import save_file  # noqa: PLC0415

    path.touch()
    mode = path.stat().st_mode  # as new files are to have it here
    save_file({entry.name: entry.tensor.clone() for entry in entries(step)}, path)
    path.chmod(mode)


def _target(path: str | os.PathLike[str]) -> Path:
    target = Path(path)
    if target.suffix != ".pt2":
        raise ValueError(f"export_aoti writes .pt2 packages, not {target.name!r}")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {target.parent}")
    return target.resolve()

"""The graphs of an export, and the manifest that describes them."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import onnx
from torch.utils import _pytree as pytree

from modgrad.export.onnx import layout
from modgrad.export.onnx.errors import ExportError
from modgrad.export.onnx.exported import GRADIENT, LOSS, NEW, PREDICTION, Exported
from modgrad.export.onnx.graph import IR_VERSION, OPSET, Graph, Value, model
from modgrad.export.onnx.lower import lowered
from modgrad.export.onnx.manifest import FORMAT, VERSION, FreeSizes, described, dtype_name
from modgrad.export.onnx.program import prediction_program, traced, training_program
from modgrad.step.state import BUFFERS, PARAMETERS, SCHEDULE, State

if TYPE_CHECKING:
    from modgrad.step.training import TrainingStep


def assembled(step: TrainingStep, batch: Any, files: dict[str, str], gradients: bool) -> Exported:
    """Trace and lower a step. files: names of the files, for the manifest. gradients: whether the file gives them."""
    return _Assembly(step, batch).exported(files, gradients)


class _Assembly:
    def __init__(self, step: TrainingStep, batch: Any) -> None:
        self.step, self.batch = step, batch
        self.sizes = FreeSizes()
        self.function, self.state = training_program(step, batch)
        self.held = layout.apart(self.state)
        self.numbers = {name: float(number) for name, number in self.state[SCHEDULE].items()}
        self.x, self.y = _names("x", batch[:-1]), _names("y", batch[-1:])
        counted = Counter([*(h.input for h in self.held), *self.numbers, *self.x, *self.y])
        if twice := [name for name, n in counted.items() if n > 1]:
            raise ExportError(
                f"{', '.join(map(repr, twice))} would name two inputs of the graph: give the module's parameter or "
                "buffer another name"
            )

    def exported(self, files: dict[str, str], gradients: bool) -> Exported:
        graph, new, loss, grads = self._lowered()
        outputs, tensors = self._new_state(new)
        outputs[LOSS] = (loss, [])
        told = {GRADIENT + name: (value, list(value.shape or ())) for name, value in grads.items()}
        stated = self._stated(graph)
        order = [*(h.input for h in self.held), *self.numbers, *self.x, *self.y]
        inputs = [(name, stated[name]) for name in order]
        whole = graph.proto("training_step", inputs, {**outputs, **told})
        finished = whole if gradients else graph.proto("training_step", inputs, outputs)
        predicting, predict = self._prediction()
        manifest = {
            "format": FORMAT,
            "version": VERSION,
            "modgrad": sys.modules[__name__.partition(".")[0]].__version__,
            "opset": OPSET,
            "ir_version": IR_VERSION,
            "model": type(self.step.model).__name__,
            "criterion": type(self.step.criterion).__name__,
            "optimizer": type(self.step.optimizer).__name__,
            "steps": 1,
            "files": files,
            "state": [layout.entry(each) for each in layout.named(self.state)],
            "tensors": tensors,
            "numbers": [
                {"name": name, "input": name, "value": value, "dtype": "float64", "shape": []}
                for name, value in self.numbers.items()
            ],
            "batch": [described(n, "input", stated[n], graph.inputs[n].dtype) for n in (*self.x, *self.y)],
            "loss": described(LOSS, "output", (), loss.dtype),
            "gradients": [
                {"name": name, **described(GRADIENT + name, "output", value.shape or (), value.dtype)}
                for name, value in (grads if gradients else {}).items()
            ],
            "predict": predict,
        }
        return Exported(
            _valid(whole),
            _valid(finished),
            _valid(predicting),
            manifest,
            {each.name: each.tensor.contiguous().clone() for each in layout.named(self.state)},
            self.held,
            self.numbers,
            [*self.x, *self.y],
        )

    def _lowered(self) -> tuple[Graph, State, Value, dict[str, Value]]:
        program = traced(self.step, self.function, self.state, self.batch)
        names = {held.place: held.input for held in self.held}
        inputs = [names.get((kind, name), name) for kind, tensors in self.state.items() for name in tensors]
        graph = Graph()
        values = lowered(program, [*inputs, *self.x, *self.y], graph)
        new, loss, grads = pytree.tree_unflatten(values, program.call_spec.out_spec)
        if loss.shape != ():
            raise ExportError(f"the loss has shape {tuple(loss.shape)}, expected none: reduce it to one number")
        return graph, new, loss, grads

    def _new_state(self, new: State) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The outputs that the state goes on with, and the manifest's "tensors"."""
        outputs: dict[str, Any] = {}
        tensors = []
        for held in self.held:
            kind, name = held.place
            value: Any = new[kind][name]
            changes = value.name != held.input
            shape = list(held.tensor.shape)
            if changes:
                outputs[NEW + held.input] = (value, shape)
            tensors.append(
                {
                    "input": held.input,
                    "output": NEW + held.input if changes else None,
                    "shape": shape,
                    "dtype": dtype_name(held.tensor.dtype),
                    "holds": [{"name": name, "offset": offset} for name, offset in held.holds],
                }
            )
        return outputs, tensors

    def _prediction(self) -> tuple[onnx.GraphProto, dict[str, Any]]:
        inputs = self.batch[:-1]
        function, state = prediction_program(self.step, inputs)
        program = traced(self.step, function, state, inputs)
        graph = Graph()
        names = [name for kind in (PARAMETERS, BUFFERS) for name in state[kind]]
        values = lowered(program, [*names, *self.x], graph)
        called = [PREDICTION] if len(values) == 1 else [f"{PREDICTION}{i}" for i in range(len(values))]
        stated = self._stated(graph)
        outputs = {
            name: (value, self.sizes.shape(value.shape or ())) for name, value in zip(called, values, strict=True)
        }
        proto = graph.proto("prediction", [(n, stated[n]) for n in (*names, *self.x)], outputs)
        return proto, {
            "state": names,
            "batch": [described(n, "input", stated[n], graph.inputs[n].dtype) for n in self.x],
            "outputs": [described(n, "output", shape, value.dtype) for n, (value, shape) in outputs.items()],
        }

    def _stated(self, graph: Graph) -> dict[str, list[Any]]:
        """The shapes of the inputs, with names for free sizes. Each program has symbols of its own for them."""
        self.sizes = FreeSizes()
        return {name: self.sizes.shape(value.shape or ()) for name, value in graph.inputs.items()}


def _valid(graph: onnx.GraphProto) -> bytes:
    proto = model(graph)
    onnx.checker.check_model(proto, full_check=True)
    return proto.SerializeToString()


def _names(letter: str, part: Any) -> list[str]:
    leaves = pytree.tree_leaves(part)
    return [letter] if len(leaves) == 1 else [f"{letter}{i}" for i in range(len(leaves))]

"""The graphs of an export, and the manifest that describes them."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import onnx
from torch.utils import _pytree as pytree

from modgrad.export.onnx import layout, packing
from modgrad.export.onnx.errors import ExportError
from modgrad.export.onnx.exported import GRADIENT, LOSS, NEW, PREDICTION, Exported
from modgrad.export.onnx.graph import IR_VERSION, OPSET, Graph, Value, model, scan, stated
from modgrad.export.onnx.lower import lowered
from modgrad.export.onnx.manifest import FORMAT, VERSION, FreeSizes, described, dtype_name
from modgrad.export.onnx.program import Programs, traced
from modgrad.step.state import SCHEDULE, State

if TYPE_CHECKING:
    from modgrad.step.training import TrainingStep

STEPS = "steps"
Outputs = dict[str, tuple[Value, list[Any]]]


class Assembly:
    """One export. pack: keep parameters in flat tensors."""

    def __init__(self, step: TrainingStep, batch: Any, pack: bool) -> None:
        self.step, self.batch = step, batch
        self.programs = Programs(step, batch, pack)
        state = self.programs.state
        self.held = packing.held(state, self.programs.units, SCHEDULE)
        self.numbers = {name: float(number) for name, number in state[SCHEDULE].items()}
        self.x, self.y = _names("x", batch[:-1]), _names("y", batch[-1:])
        self.given = [*self.numbers, *self.x, *self.y]  # the inputs beside the state
        inputs = Counter([*(h.input for h in self.held), *self.given])
        names = Counter(name for h in self.held for name, _ in h.holds)
        if twice := [name for name, n in (inputs | names).items() if n > 1]:
            raise ExportError(
                f"{', '.join(map(repr, twice))} would name two inputs of the graph: give the module's parameter or "
                "buffer another name"
            )

    def exported(self, files: dict[str, str], steps: int | str, gradients: bool) -> Exported:
        """files: their names, for the manifest. steps: 1 or "scan". gradients: whether the file gives them."""
        graph, new, loss, grads = self._lowered()
        shapes = _stated(graph)
        state, tensors = self._new_state(new)
        others: Outputs = {LOSS: (loss, [])}
        told: Outputs = {GRADIENT + name: (value, list(value.shape or ())) for name, value in grads.items()}
        inputs = [(name, shapes[name]) for name in (*(h.input for h in self.held), *self.given)]
        whole = graph.proto("training_step", inputs, {**state, **others, **told})
        if gradients:
            others |= told
        lead: list[Any] = []
        if steps == "scan":
            finished, lead = self._looped(graph, inputs, state, others), [STEPS]
        else:
            finished = whole if gradients else graph.proto("training_step", inputs, {**state, **others})
        predicting, predict = self._prediction()
        named = layout.named(self.programs.named)
        manifest = {
            "format": FORMAT,
            "version": VERSION,
            "modgrad": sys.modules[__name__.partition(".")[0]].__version__,
            "opset": OPSET,
            "ir_version": IR_VERSION,
            "model": type(self.step.model).__name__,
            "criterion": type(self.step.criterion).__name__,
            "optimizer": type(self.step.optimizer).__name__,
            "steps": steps,
            "files": files,
            "state": [layout.entry(each) for each in named],
            "tensors": tensors,
            "numbers": [
                {"name": name, "input": name, "value": value, "dtype": "float64", "shape": lead}
                for name, value in self.numbers.items()
            ],
            "batch": [described(n, "input", [*lead, *shapes[n]], graph.inputs[n].dtype) for n in (*self.x, *self.y)],
            "loss": described(LOSS, "output", lead, loss.dtype),
            "gradients": [
                {"name": name, **described(GRADIENT + name, "output", [*lead, *(value.shape or ())], value.dtype)}
                for name, value in (grads if gradients else {}).items()
            ],
            "predict": predict,
        }
        return Exported(
            _valid(whole),
            _valid(finished),
            _valid(predicting),
            manifest,
            {each.name: each.tensor.contiguous().clone() for each in named},
            self.held,
            self.numbers,
            [*self.x, *self.y],
        )

    def _lowered(self) -> tuple[Graph, State, Value, dict[str, Value]]:
        state = self.programs.state
        program = traced(self.step, self.programs.train, state, self.batch)
        names = {held.place: held.input for held in self.held}
        inputs = [names.get((kind, name), name) for kind, tensors in state.items() for name in tensors]
        graph = Graph()
        values = lowered(program, [*inputs, *self.x, *self.y], graph)
        new, loss, grads = pytree.tree_unflatten(values, program.call_spec.out_spec)
        if loss.shape != ():
            raise ExportError(f"the loss has shape {tuple(loss.shape)}, expected none: reduce it to one number")
        return graph, new, loss, grads

    def _new_state(self, new: State) -> tuple[Outputs, list[dict[str, Any]]]:
        """The outputs that the state goes on with, and the manifest's "tensors"."""
        outputs: Outputs = {}
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

    def _looped(self, graph: Graph, inputs: list[Any], state: Outputs, others: Outputs) -> onnx.GraphProto:
        """The step in a loop, over batches and numbers that are stacked."""
        shapes = dict(inputs)
        carried = [name.removeprefix(NEW) for name in state]
        within = [(name, shapes[name]) for name in (*carried, *self.given)]
        body = graph.proto("step", within, {**state, **others}, inner=True)
        stacked = set(self.given)
        return scan(
            body,
            "training_steps",
            [stated(n, graph.inputs[n].dtype, [STEPS, *shape] if n in stacked else shape) for n, shape in inputs],
            [
                *(stated(n, value.dtype, shape) for n, (value, shape) in state.items()),
                *(stated(n, value.dtype, [STEPS, *shape]) for n, (value, shape) in others.items()),
            ],
            carried,
            self.given,
        )

    def _prediction(self) -> tuple[onnx.GraphProto, dict[str, Any]]:
        inputs, state = self.batch[:-1], self.programs.fixed
        program = traced(self.step, self.programs.predict, state, inputs)
        graph = Graph()
        names = [name for tensors in state.values() for name in tensors]
        values = lowered(program, [*names, *self.x], graph)
        called = [PREDICTION] if len(values) == 1 else [f"{PREDICTION}{i}" for i in range(len(values))]
        sizes = FreeSizes()
        shapes = {name: sizes.shape(value.shape or ()) for name, value in graph.inputs.items()}
        outputs = {name: (value, sizes.shape(value.shape or ())) for name, value in zip(called, values, strict=True)}
        read = {name for node in graph.proto("", [], outputs).node for name in node.input}
        names = [name for name in names if name in read]
        proto = graph.proto("prediction", [(n, shapes[n]) for n in (*names, *self.x)], outputs)
        return proto, {
            "state": names,
            "batch": [described(n, "input", shapes[n], graph.inputs[n].dtype) for n in self.x],
            "outputs": [described(n, "output", shape, value.dtype) for n, (value, shape) in outputs.items()],
        }


def _stated(graph: Graph) -> dict[str, list[Any]]:
    """The shapes of a graph's inputs, with names for free sizes."""
    sizes = FreeSizes()
    return {name: sizes.shape(value.shape or ()) for name, value in graph.inputs.items()}


def _valid(graph: onnx.GraphProto) -> bytes:
    proto = model(graph)
    onnx.checker.check_model(proto, full_check=True)
    return proto.SerializeToString()


def _names(letter: str, part: Any) -> list[str]:
    leaves = pytree.tree_leaves(part)
    return [letter] if len(leaves) == 1 else [f"{letter}{i}" for i in range(len(leaves))]

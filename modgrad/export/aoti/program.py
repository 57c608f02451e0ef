"""The step and its model's prediction as programs of torch.export, over flat lists of tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from modgrad.export.aoti.batches import Sizes, in_rows, resized, size_of
from modgrad.export.onnx import packing
from modgrad.export.onnx.errors import ExportError
from modgrad.export.onnx.layout import Held
from modgrad.export.onnx.program import Programs
from modgrad.graph.call import plain
from modgrad.interop.exporting import Program
from modgrad.step import inductor
from modgrad.step.dryrun import UntraceableError, dry_run
from modgrad.step.locate import locating
from modgrad.step.program import exporting, tidied
from modgrad.step.state import SCHEDULE, State

if TYPE_CHECKING:
    from modgrad.step.training import TrainingStep

FIXED: Sizes = 2, 0  # of a program that is for one batch size


class Flat(NamedTuple):
    """A program (state, learning rates, batch) -> results, each a flat list, but for the batch."""

    exported: Any
    held: list[Held]  # the state
    numbers: list[str]
    changed: list[str]  # the names of the state that comes out, which is before all else
    sizes: Sizes  # the smallest and the largest batch, as the exporter has found

    @property
    def state(self) -> list[Tensor]:
        return [held.tensor for held in self.held]

    @property
    def results(self) -> list[Tensor]:
        """What comes out, without values."""
        return [node.meta["val"] for node in self.exported.graph.output_node().args[0]]

    @property
    def batch(self) -> list[Tensor]:
        """What goes in after state and numbers, without values."""
        specs = self.exported.graph_signature.input_specs
        given = {spec.arg.name for spec in specs if spec.kind.name == "USER_INPUT"}
        nodes = [node for node in self.exported.graph.nodes if node.op == "placeholder" and node.name in given]
        return [node.meta["val"] for node in nodes[len(self.held) + len(self.numbers) :]]


def step_program(programs: Programs, batch: Any, dynamic: bool | None) -> Flat:
    """(state, learning rates, batch) -> (the state that changes, loss)."""
    held, rates = _held(programs, programs.state), programs.state[SCHEDULE]
    changed: list[str] = []

    def run(leaves: Sequence[Tensor], numbers: Sequence[Tensor], batch: Any) -> list[Tensor]:
        state = {**_nested(held, leaves), SCHEDULE: dict(zip(rates, numbers, strict=True))}
        new, loss, _ = programs.train(state, batch)
        results = {each.input: new[each.place[0]][each.place[1]] for each in held}
        before = {each.input: leaf for each, leaf in zip(held, leaves, strict=True)}
        changed[:] = [name for name, result in results.items() if result is not before[name]]
        return _dense([*(results[name] for name in changed), loss])

    exported, sizes = _exported(programs.step, run, held, (list(rates.values()), batch), dynamic)
    return Flat(exported, held, list(rates), changed, sizes)


def predict_program(programs: Programs, inputs: Any, dynamic: bool | None) -> Flat:
    """(parameters and buffers, nothing, inputs) -> prediction."""
    held = _held(programs, programs.fixed)

    def run(leaves: Sequence[Tensor], numbers: Sequence[Tensor], inputs: Any) -> list[Tensor]:
        return _dense(list(map(plain, programs.predict(_nested(held, leaves), inputs))))

    dry_run(programs.step.names(), run, [each.tensor for each in held], [], inputs)
    exported, sizes = _exported(programs.step, run, held, ([], inputs), dynamic)
    return Flat(exported, held, [], [], sizes)


def _held(programs: Programs, state: State) -> list[Held]:
    """A client has every tensor in rows, whatever its memory is like here, and a program is for one order of it."""
    found = packing.held(state, programs.units, SCHEDULE)
    return [held._replace(tensor=in_rows(held.tensor)) for held in found]


def _nested(held: Sequence[Held], leaves: Sequence[Tensor]) -> State:
    """The state as the traced functions take it."""
    state: State = {}
    for each, leaf in zip(held, leaves, strict=True):
        kind, name = each.place
        state.setdefault(kind, {})[name] = leaf
    return {"parameters": {}, "buffers": {}, "optimizer": {}, **state}


def _dense(results: list[Tensor]) -> list[Tensor]:
    """What comes out goes in again, so it must lie in memory in the same way."""
    with torch._C.DisableTorchFunction():
        return [in_rows(result) for result in results]


def _exported(
    step: TrainingStep, function: Callable[..., Any], held: list[Held], rest: Any, dynamic: bool | None
) -> tuple[Any, Sizes]:
    """The program, for every batch size if the model allows it, and the sizes."""
    names = step.names()
    if dynamic is not False:
        try:
            exported = _traced(step, function, held, rest, dynamic=True)
            sizes = inductor.sizes(exported)
        except UntraceableError:
            if dynamic:
                raise
            sizes = FIXED
        if sizes[0] <= sizes[1]:
            with exporting(names):
                return tidied(exported.run_decompositions({})), sizes
        if dynamic:
            raise ExportError(
                "export_aoti(dynamic=True): the model allows only the batch size that it was given. Where it makes a "
                "Python number of x.shape[0], as reshape(32, ...) does, write -1; or leave out dynamic=True"
            )
    exported = _traced(step, function, held, rest, dynamic=False)
    with exporting(names):
        return tidied(exported.run_decompositions({})), FIXED


def _traced(step: TrainingStep, function: Callable[..., Any], held: list[Held], rest: Any, dynamic: bool) -> Any:
    numbers, batch = rest
    of_batch = pytree.tree_map(lambda x: {0: torch.export.Dim.AUTO} if dynamic and x.dim() else None, batch)
    if dynamic and size_of(batch) == 1:  # which torch.export would take for a constant
        batch = resized(batch, 2)
    program = Program(lambda leaves, others: function(leaves, *others))
    shapes = ([None] * len(held), ([None] * len(numbers), of_batch))
    names = step.names()
    with locating(names), exporting(names):
        state = [each.tensor for each in held]
        return torch.export.export(program, (state, (numbers, batch)), dynamic_shapes=shapes, strict=False)

"""The programs that are exported: the step, and the model by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from modgrad.export.onnx.lower import decompositions
from modgrad.functional.kernel import formulas
from modgrad.graph.mode import switched
from modgrad.graph.tracing import Tracing, replaced
from modgrad.interop.exporting import Program
from modgrad.step import state as states
from modgrad.step.dryrun import dry_run
from modgrad.step.locate import locating
from modgrad.step.program import PureStep, exporting, tidied
from modgrad.step.state import BUFFERS, PARAMETERS, SCHEDULE, State

if TYPE_CHECKING:
    from modgrad.step.training import TrainingStep


def trained_by(step: TrainingStep) -> State:
    """The step's state, with learning rates for the only numbers: the others become part of the program."""
    state = step.state
    kept = {hyper.label for hyper in states.hypers(step.optimizer) if hyper.name == "lr"}
    state[SCHEDULE] = {label: number for label, number in state[SCHEDULE].items() if label in kept}
    return state


def traced(step: TrainingStep, function: Callable[[Any, Any], Any], state: State, batch: Any) -> Any:
    """function(state, batch), a pure function, as a torch.export.ExportedProgram with a free batch size if possible."""
    free = {0: torch.export.Dim.AUTO}
    shapes = pytree.tree_map(lambda x: free if isinstance(x, Tensor) and x.dim() else None, batch)
    with formulas(), locating(step.names()), exporting(step.names()):
        exported = torch.export.export(
            Program(function),
            (state, _plain(batch)),
            dynamic_shapes=(pytree.tree_map(lambda _: None, state), shapes),
            strict=False,
        )
        return tidied(exported.run_decompositions(decompositions()))


def training_program(step: TrainingStep, batch: Any) -> tuple[Callable[[Any, Any], Any], State]:
    """(state, batch) -> (new state, loss, gradients), and a state to call it with."""

    def run(state: State, batch: Any) -> Any:
        pure = PureStep(step)
        new, loss = pure(state, batch)
        del new[SCHEDULE]
        return new, loss, pure.gradients

    step.prepared(lambda: dry_run(step.names(), run, trained_by(step), batch))
    return run, trained_by(step)


def prediction_program(step: TrainingStep, inputs: Any) -> tuple[Callable[[Any, Any], Any], State]:
    """(parameters and buffers, inputs) -> the model's outputs in evaluation mode."""
    model = step.model
    parameters, buffers = dict(model.named_parameters()), dict(model.named_buffers())

    def run(state: State, inputs: Any) -> Any:
        pairs: list[tuple[Tensor, Any]] = [(p, _frozen(state[PARAMETERS][name])) for name, p in parameters.items()]
        pairs += [(b, state[BUFFERS][name].clone()) for name, b in buffers.items()]
        training = [module.training for module in model.modules()]
        with Tracing(), replaced([model], pairs), switched(recording=False), step.casting():
            try:
                model.eval()
                return pytree.tree_leaves(model(*inputs))
            finally:
                for module, before in zip(model.modules(), training, strict=True):
                    module.training = before

    with torch._C.DisableTorchFunctionSubclass():
        state: State = {
            PARAMETERS: {name: p.detach() for name, p in parameters.items()},
            BUFFERS: {name: b.detach() for name, b in buffers.items()},
        }
    dry_run(step.names(), run, state, inputs)
    return run, state


def _frozen(tensor: Any) -> Any:
    tensor.grad_f, tensor.grad_v = False, None
    return tensor


def _plain(batch: Any) -> Any:
    """The batch, with two samples where it has one: torch.export takes a size of 1 for a constant."""
    return pytree.tree_map(
        lambda x: torch.cat([x, x]) if isinstance(x, Tensor) and x.dim() and x.shape[0] == 1 else x, batch
    )

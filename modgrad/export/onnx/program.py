"""The programs that are exported: the step, and the model by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from modgrad.export.onnx.packing import PackedStep, Unit, packed, units, with_members
from modgrad.functional import loss
from modgrad.functional.activation import rectifier
from modgrad.functional.convolution import convolution_grad_weight, transposed_convolution_grad_weight
from modgrad.functional.kernel import formulas
from modgrad.functional.pooling.max import max_pool_backward
from modgrad.graph.mode import switched
from modgrad.graph.tracing import Tracing, replaced
from modgrad.interop.exporting import Program
from modgrad.step import state as states
from modgrad.step.dryrun import dry_run
from modgrad.step.locate import locating
from modgrad.step.program import PureStep, exporting, tidied, traceable
from modgrad.step.state import BUFFERS, PARAMETERS, SCHEDULE, State

if TYPE_CHECKING:
    from modgrad.step.training import TrainingStep

# Of these the kernels are lowered, in operations that are fewer than their formulas', or faster in onnxruntime.
KERNELS: frozenset[Any] = frozenset(
    {
        *(loss.cross_entropy, loss.cross_entropy_grad_input, loss.nll_loss, loss.nll_loss_backward),
        *(convolution_grad_weight, transposed_convolution_grad_weight),
        *(rectifier.relu_backward, max_pool_backward),
    }
)


def trained_by(step: TrainingStep) -> State:
    """The step's state, with learning rates for the only numbers: the others become part of the program."""
    state = step.state
    kept = {hyper.label for hyper in states.hypers(step.optimizer) if hyper.name == "lr"}
    state[SCHEDULE] = {label: number for label, number in state[SCHEDULE].items() if label in kept}
    return state


def traced(step: TrainingStep, function: Callable[[Any, Any], Any], state: State, batch: Any) -> Any:
    """function(state, batch), a pure function, as a torch.export.ExportedProgram with a free batch size if possible."""
    from modgrad.export.onnx.lower import decompositions  # noqa: PLC0415 (what else is here does without onnx)

    free = {0: torch.export.Dim.AUTO}
    shapes = pytree.tree_map(lambda x: free if isinstance(x, Tensor) and x.dim() else None, batch)
    with formulas(but=KERNELS), locating(step.names()), exporting(step.names()):
        exported = torch.export.export(
            Program(function),
            (state, traceable(batch)),
            dynamic_shapes=(pytree.tree_map(lambda _: None, state), shapes),
            strict=False,
        )
        return tidied(exported.run_decompositions(decompositions()))


class Programs:
    """The functions that are traced, and the states that they take. pack: keep parameters in flat tensors."""

    def __init__(self, step: TrainingStep, batch: Any, pack: bool) -> None:
        self.step = step
        self.units: list[Unit] = []
        pure = step.prepared(lambda: _run(step, batch))
        self.named = trained_by(step)
        if pack:
            step.fuse_update = False  # all at once is the same
            self.units = units(pure)
        self.state = packed(self.named, self.units)
        kept = {kind: self.named[kind] for kind in (PARAMETERS, BUFFERS) if kind in self.named}
        self.fixed = packed({PARAMETERS: {}, BUFFERS: {}, **kept}, self.units)

    def train(self, state: State, batch: Any) -> Any:
        """(state, batch) -> (new state, loss, gradients)."""
        pure = PackedStep(self.step, self.units)
        new, loss = pure(state, batch)
        del new[SCHEDULE]
        return new, loss, pure.gradients

    def predict(self, state: State, inputs: Any) -> list[Any]:
        """(parameters and buffers, inputs) -> the model's outputs in evaluation mode."""
        model = self.step.model
        state = with_members(state, self.units)
        pairs: list[tuple[Tensor, Any]]
        pairs = [(p, _frozen(state[PARAMETERS][name])) for name, p in model.named_parameters()]
        pairs += [(b, state[BUFFERS][name].clone()) for name, b in model.named_buffers()]
        training = [module.training for module in model.modules()]
        with Tracing(), replaced([model], pairs), switched(recording=False), self.step.casting():
            try:
                model.eval()
                return [y for y in pytree.tree_leaves(model(*inputs)) if isinstance(y, Tensor)]
            finally:
                for module, before in zip(model.modules(), training, strict=True):
                    module.training = before


def _run(step: TrainingStep, batch: Any) -> PureStep:
    """The step as a pure function of its state as it is now, after a run."""
    pure = PureStep(step)
    dry_run(step.names(), pure, trained_by(step), batch)
    return pure


def _frozen(tensor: Any) -> Any:
    tensor.grad_f, tensor.grad_v = False, None
    return tensor

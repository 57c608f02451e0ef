"""What the step itself gives: loss, gradients, buffers, and the update from given gradients."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from modgrad.export.onnx.exported import GRADIENT, LOSS
from modgrad.graph import Randomness
from modgrad.graph.call import plain
from modgrad.graph.mode import no_grad
from modgrad.step import state as states
from modgrad.step.state import BUFFERS, OPTIMIZER, PARAMETERS

if TYPE_CHECKING:
    from modgrad.step.training import TrainingStep

_plainly = torch._C.DisableTorchFunctionSubclass


class Result(NamedTuple):
    loss: Tensor
    gradients: dict[str, Tensor]
    buffers: dict[str, Tensor]

    def named(self) -> dict[str, Tensor]:
        """As the graph's outputs are named, but for a "new." before a buffer."""
        return {LOSS: self.loss, **{GRADIENT + n: g for n, g in self.gradients.items()}, **self.buffers}


def values(step: TrainingStep) -> dict[str, Tensor]:
    """Parameters, buffers and the optimizer's state, copied, by name."""
    found = {}
    with _plainly():
        for place in step.places():
            found[place.name] = place.get().detach().clone()
    return found


def put(step: TrainingStep, by_name: dict[str, Tensor]) -> None:
    """Give parameters, buffers and the optimizer's state these values."""
    with _plainly(), torch.no_grad():
        for place in step.places():
            if place.kind == OPTIMIZER:  # which may be shared, and is replaced rather than changed
                before, new = place.get(), by_name[place.name].to(place.get().dtype).clone()
                for memory in step.optimizer.state.values():
                    for key, value in memory.items():
                        if value is before:
                            memory[key] = new
            else:
                place.get().copy_(by_name[place.name])


def double(step: TrainingStep) -> TrainingStep:
    """The step in float64."""
    other = copy.deepcopy(step)
    other.model.double()
    other.criterion.double()
    return other


def in_double(batch: Any) -> Any:
    return pytree.tree_map(lambda x: x.double() if isinstance(x, Tensor) and x.is_floating_point() else x, batch)


def results(step: TrainingStep, batch: Any, seed: Tensor | None) -> Result:
    """One call without its update: its gradients, of a part of the batch where several calls make one update. Only
    buffers change."""
    *inputs, target = batch
    step._forget()
    with nullcontext() if seed is None else Randomness(seed):
        with step.casting():
            loss = step.criterion(step.model(*inputs), target)
        value: Tensor = plain(loss)
        loss.backward(None if step.accumulate == 1 else torch.full_like(value, 1 / step.accumulate))
    with _plainly():
        updated = states.updated(step.optimizer, step.parameters())
        gradients = {name: p.grad.detach().clone() for name, p in updated if p.grad is not None}
        buffers = {place.name: place.get().detach().clone() for place in step.places() if place.kind == BUFFERS}
    step._forget()
    return Result(value.detach().clone(), gradients, buffers)


def update(step: TrainingStep, gradients: dict[str, Tensor]) -> dict[str, Tensor]:
    """Parameters and the optimizer's state after an update with these gradients: by the optimizer's own kernels."""
    parameters = step.parameters()
    with _plainly():
        for name, gradient in gradients.items():
            parameters[name].grad = gradient.clone()
    step._update()
    with _plainly():
        return {p.name: p.get().detach().clone() for p in step.places() if p.kind in (PARAMETERS, OPTIMIZER)}


def predictions(step: TrainingStep, inputs: Any) -> list[Tensor]:
    """What the model gives in evaluation mode."""
    model = step.model
    training = [module.training for module in model.modules()]
    try:
        model.eval()
        with no_grad(), step.casting():
            return [plain(y) for y in pytree.tree_leaves(model(*inputs)) if isinstance(y, Tensor)]
    finally:
        for module, before in zip(model.modules(), training, strict=True):
            module.training = before

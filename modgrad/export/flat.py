"""The step and its model's prediction as functions of named tensors in a row, as an exported file has them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from modgrad.graph import no_grad
from modgrad.graph.call import plain
from modgrad.graph.errors import describe
from modgrad.graph.tracing import Tracing, replaced, standing_for
from modgrad.step import state as states
from modgrad.step.program import PureStep

if TYPE_CHECKING:
    from modgrad.step.training import TrainingStep

# How the kinds of state are called in a manifest, in the order that a program takes them.
KINDS = {
    states.PARAMETERS: "parameter",
    states.BUFFERS: "buffer",
    states.OPTIMIZER: "optimizer",
    states.RANDOMNESS: "randomness",
    states.GRADIENTS: "gradient",
    states.COUNT: "count",
}


class Entry(NamedTuple):
    """A tensor of the state, contiguous. path: its kind and name in the step's own state."""

    name: str
    kind: str
    tensor: Tensor
    path: tuple[str, str]


def entries(step: TrainingStep) -> list[Entry]:
    """All of a step's state but the optimizer's numbers, each tensor under a name of its own."""
    state = step.state
    found: dict[str, Entry] = {}
    for kind, word in KINDS.items():
        for key, tensor in state.get(kind, {}).items():
            name = f"gradient.{key}" if kind == states.GRADIENTS else key
            if name in found:
                raise ValueError(
                    f"the {word} {key!r} has the name of the {found[name].kind}: an exported file knows its tensors "
                    "by name. Give the module another attribute name"
                )
            found[name] = Entry(name, word, plain(tensor).detach().contiguous(), (kind, key))
    return list(found.values())


class FlatStep:
    """One training step: (state, learning rates, batch) -> (new state, loss), as flat lists.

    The learning rates are inputs, one for each group of the optimizer; its other numbers are part of the program.
    changed: the names of the state that the step gives anew, once it has been traced.
    """

    def __init__(self, step: TrainingStep) -> None:
        self.step = step
        self.pure = PureStep(step)
        self.entries = entries(step)
        self.rates = [hyper for hyper in self.pure.hypers if hyper.name == "lr"]
        self.changed: list[str] = []

    def numbers(self) -> list[Tensor]:
        """The learning rates as they are now: float64 scalars."""
        groups = self.step.optimizer.param_groups
        return [torch.tensor(rate.get(groups), dtype=torch.float64) for rate in self.rates]

    def __call__(self, leaves: Sequence[Tensor], numbers: Sequence[Tensor], batch: Any) -> list[Tensor]:
        state: states.State = {}
        for entry, leaf in zip(self.entries, leaves, strict=True):
            kind, name = entry.path
            state.setdefault(kind, {})[name] = leaf
        for kind in (states.PARAMETERS, states.BUFFERS, states.OPTIMIZER):
            state.setdefault(kind, {})
        given = {rate.label: number for rate, number in zip(self.rates, numbers, strict=True)}
        groups = self.step.optimizer.param_groups
        state[states.SCHEDULE] = {
            hyper.label: given[hyper.label]
            if hyper.label in given
            else torch.full((), hyper.get(groups), dtype=torch.float64)
            for hyper in self.pure.hypers
        }
        new, loss = self.pure(state, batch)
        results = [new[kind][name] for *_, (kind, name) in self.entries]
        moved = [
            (entry.name, result)
            for entry, leaf, result in zip(self.entries, leaves, results, strict=True)
            if result is not leaf
        ]
        self.changed = [name for name, _ in moved]
        with torch._C.DisableTorchFunction():  # what comes out goes in again, and a program is for one layout
            return [*(result.contiguous() for _, result in moved), loss]


class FlatPrediction:
    """The model in evaluation mode: (its parameters and buffers, no numbers, inputs) -> what it gives, flat."""

    def __init__(self, step: TrainingStep, all_of_state: Sequence[Entry]) -> None:
        self.step = step
        owned = {**dict(step.model.named_parameters()), **dict(step.model.named_buffers())}
        self.entries = [
            entry for entry in all_of_state if entry.kind in ("parameter", "buffer") and entry.name in owned
        ]
        self._owned = [owned[entry.name] for entry in self.entries]

    def __call__(self, leaves: Sequence[Tensor], numbers: Sequence[Tensor], inputs: Sequence[Any]) -> list[Tensor]:
        model = self.step.model
        with evaluation(model), Tracing(), no_grad(), self.step.casting():
            pairs = [(own, standing_for(own, leaf)) for own, leaf in zip(self._owned, leaves, strict=True)]
            with replaced([model], pairs):
                given = pytree.tree_leaves(model(*inputs))
        for value in given:
            if not isinstance(value, Tensor):
                raise TypeError(
                    f"in evaluation mode {type(model).__name__} gives {describe(value)}: a prediction is made of "
                    "tensors"
                )
        with torch._C.DisableTorchFunction():
            return [value.contiguous() for value in given]


@contextmanager
def evaluation(model: Any) -> Iterator[None]:
    """Inside, the model and all of its modules are in evaluation mode."""
    modules = list(model.modules())
    before = [module.training for module in modules]
    try:
        model.eval()
        yield
    finally:
        for module, training in zip(modules, before, strict=True):
            module.training = training

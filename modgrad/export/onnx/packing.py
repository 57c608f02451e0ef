"""Parameters of one kind in one flat tensor, and so what an optimizer keeps of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from modgrad.export.onnx.errors import ExportError
from modgrad.export.onnx.layout import Held
from modgrad.export.onnx.manifest import dtype_name, state_name
from modgrad.optim.rule import RuleOptimizer
from modgrad.step.program import PureStep
from modgrad.step.state import OPTIMIZER, PARAMETERS, State

if TYPE_CHECKING:
    from modgrad.step.training import TrainingStep


class Unit(NamedTuple):
    """Parameters that are one flat tensor. What an optimizer keeps of each, too, but for numbers that they share."""

    name: str
    group: int
    members: dict[str, torch.Size]  # by name, in order
    memory: dict[str, str]  # of the optimizer's state, key by key: the flat tensor's name
    shared: dict[str, str]  # the numbers' keys, and their names in the state

    def split(self, flat: Tensor) -> dict[str, Tensor]:
        """The members' parts of a flat tensor."""
        parts = flat.split([shape.numel() for shape in self.members.values()])
        return {n: part.reshape(shape) for (n, shape), part in zip(self.members.items(), parts, strict=True)}

    def offsets(self) -> dict[str, int]:
        found, offset = {}, 0
        for name, shape in self.members.items():
            found[name] = offset
            offset += shape.numel()
        return found


def units(pure: PureStep) -> list[Unit]:
    """What of a step can be packed: its run has shown which parameters no gradient reaches."""
    optimizer = pure.step.optimizer
    if not isinstance(optimizer, RuleOptimizer) or not optimizer.elementwise:
        raise ExportError(
            f"pack=True: {type(optimizer).__name__} may look at a parameter as a whole, so that several cannot be one "
            "flat tensor. Leave pack out, or use an optimizer that updates each element by itself, such as Adam"
        )
    group_of = {id(p): number for number, group in enumerate(optimizer.param_groups) for p in group["params"]}
    alike: dict[Any, list[str]] = {}
    for name, parameter in pure.updated.items():
        if name in pure.idle:
            continue
        own = optimizer.state[parameter]
        numbers = tuple((key, label) for key, label in pure.memories[name].items() if key in optimizer.scalars)
        kept = tuple(key for key in pure.memories[name] if key not in optimizer.scalars)
        if all(own[key].shape == parameter.shape and own[key].dtype == parameter.dtype for key in kept):
            alike.setdefault((parameter.dtype, group_of[id(parameter)], kept, numbers), []).append(name)
    found = [(kind, names) for kind, names in alike.items() if len(names) > 1]
    of_dtype = [kind[0] for kind, _ in found]
    result = []
    for i, ((dtype, group, kept, numbers), names) in enumerate(found):
        ending = dtype_name(dtype) + (f".{of_dtype[:i].count(dtype)}" if of_dtype.count(dtype) > 1 else "")
        members = {name: pure.updated[name].shape for name in names}
        result.append(Unit(f"parameters.{ending}", group, members, {k: f"{k}.{ending}" for k in kept}, dict(numbers)))
    return result


def packed(state: State, found: list[Unit]) -> State:
    """The state with flat tensors in the place of their members."""
    gone = {name for unit in found for name in unit.members}
    lost = {f"{name}.{key}" for unit in found for name in unit.members for key in unit.memory}
    new = {kind: dict(tensors) for kind, tensors in state.items()}
    new[PARAMETERS] = {name: x for name, x in state[PARAMETERS].items() if name not in gone}
    if OPTIMIZER in state:
        new[OPTIMIZER] = {name: x for name, x in state[OPTIMIZER].items() if name not in lost}
    for unit in found:
        new[PARAMETERS][unit.name] = torch.cat([state[PARAMETERS][name].reshape(-1) for name in unit.members])
        for key, label in unit.memory.items() if OPTIMIZER in state else ():
            new[OPTIMIZER][label] = torch.cat([state[OPTIMIZER][f"{n}.{key}"].reshape(-1) for n in unit.members])
    return new


def held(state: State, found: list[Unit], schedule: str) -> list[Held]:
    """What each tensor of a packed state holds."""
    inside: dict[tuple[str, str], list[tuple[str, int]]] = {}
    for unit in found:
        inside[PARAMETERS, unit.name] = list(unit.offsets().items())
        for key, label in unit.memory.items():
            inside[OPTIMIZER, label] = [(f"{name}.{key}", offset) for name, offset in unit.offsets().items()]
    result = []
    for kind, tensors in state.items():
        if kind != schedule:
            for name, tensor in tensors.items():
                own = state_name(kind, name)
                result.append(Held(own, tensor, inside.get((kind, name), [(own, 0)]), (kind, name)))
    return result


class PackedStep(PureStep):
    """The step as a pure function of a packed state."""

    def __init__(self, step: TrainingStep, found: list[Unit]) -> None:
        super().__init__(step)
        self.units = found

    def __call__(self, state: State, batch: Any) -> tuple[State, Tensor]:
        named = with_members(state, self.units)
        new, loss = super().__call__(named, batch)
        new[PARAMETERS] = {name: new[PARAMETERS][name] for name in state[PARAMETERS]}
        return new, loss

    def _descend(self, state: State, new: State, grads: dict[str, Tensor]) -> None:
        packed_names = {name for unit in self.units for name in unit.members}
        super()._descend(state, new, {name: g for name, g in grads.items() if name not in packed_names})
        for unit in self.units:
            first = self.updated[next(iter(unit.members))]
            labels = {**unit.memory, **unit.shared}
            own = dict(self.step.optimizer.state[first])
            memory = {**own, **{key: state[OPTIMIZER][label].clone() for key, label in labels.items()}}
            params: list[Any] = [state[PARAMETERS][unit.name].clone()]
            gradient = torch.cat([grads[name].reshape(-1) for name in unit.members])
            self._optimize(state, unit.group, params, [gradient], [memory])
            new[PARAMETERS][unit.name] = params[0]
            for key, label in labels.items():
                new[OPTIMIZER][label] = memory[key]


def with_members(state: State, found: list[Unit]) -> State:
    """The state, and beside its flat parameters their members."""
    parameters = dict(state[PARAMETERS])
    for unit in found:
        parameters |= unit.split(state[PARAMETERS][unit.name])
    return {**state, PARAMETERS: parameters}

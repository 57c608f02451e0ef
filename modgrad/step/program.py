"""A training step as a pure function (state, batch) -> (state, loss), and that function as an exported program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from modgrad.functional.kernel import formulas
from modgrad.graph import Randomness
from modgrad.graph.mode import switched
from modgrad.graph.tracing import Tracing, replaced
from modgrad.graph.walk import backward
from modgrad.interop.exporting import Program
from modgrad.optim.clipping import clip_factor, total_norm
from modgrad.step import state as states
from modgrad.step.locate import at, locating, place_of
from modgrad.step.state import BUFFERS, COUNT, GRADIENTS, OPTIMIZER, PARAMETERS, RANDOMNESS, SCHEDULE, State

if TYPE_CHECKING:
    from modgrad.step.training import TrainingStep

GRADIENT_OF = "gradient of "
Grads = dict[str, Tensor | None]


class PureStep:
    """The step as a pure function of its state and a batch, to be traced. Nothing that it is given changes.

    due: where gradients are accumulated, whether this call is the one that updates; None for a program that counts, and
    finds out by itself.
    """

    def __init__(self, step: TrainingStep, due: bool | None = None) -> None:
        self.step, self.due = step, due
        self.parameters = step.parameters()
        self.buffers = states.named_buffers(step.model, step.criterion)
        self.updated = dict(states.updated(step.optimizer, self.parameters))
        self.hypers = states.hypers(step.optimizer)
        # Where each tensor of the optimizer's state stands in the program's. One that is shared stands there once.
        self.memories: dict[str, dict[str, str]] = {}
        labels: dict[int, str] = {}
        for name, parameter in self.updated.items():
            own = step.optimizer.state[parameter].items()
            tensors = {key: value for key, value in own if isinstance(value, Tensor)}
            self.memories[name] = {k: labels.setdefault(id(v), f"{name}.{k}") for k, v in tensors.items()}

    def __call__(self, state: State, batch: Any) -> tuple[State, Tensor]:
        step = self.step
        *inputs, target = batch
        new: State = {kind: dict(named) for kind, named in state.items()}
        stand_ins = {name: _parameter(state[PARAMETERS][name], p.grad_f) for name, p in self.parameters.items()}
        pairs: list[tuple[Tensor, Any]] = [(self.parameters[name], stand_in) for name, stand_in in stand_ins.items()]
        for name, buffer in self.buffers.items():
            new[BUFFERS][name] = state[BUFFERS][name].clone()
            pairs.append((buffer, new[BUFFERS][name]))
        seed = state[RANDOMNESS]["seed"] if RANDOMNESS in state else None
        drawing: Any = switched(randomness=_Unseeded()) if seed is None else Randomness(seed)
        with Tracing(), replaced([step.model, step.criterion], pairs), drawing:
            loss = step.criterion(step.model(*inputs), target)
            first = None if step.accumulate == 1 else torch.full_like(loss, 1 / step.accumulate)
            with at("backward"):
                backward(loss, first, retain=False)
            with switched(computing=True):
                self._update(state, new, {name: stand_ins[name].grad_v for name in self.updated})
                if seed is not None:
                    new[RANDOMNESS] = {"seed": torch.stack([seed[0], seed[1] + 1])}
        return new, loss

    def _update(self, state: State, new: State, grads: Grads) -> None:
        """Put what follows from the gradients into `new`."""
        for name, grad in grads.items():
            if grad is not None:
                with at(f"{GRADIENT_OF}{name}"):
                    grads[name] = torch.ops.aten.alias.default(grad)
        if self.step.accumulate == 1:
            self._apply(state, new, grads)
            return
        with at("accumulation"):
            for name, grad in grads.items():
                before = state[GRADIENTS][name]
                grads[name] = new[GRADIENTS][name] = before if grad is None else before + grad
        if self.due is None:
            self._apply_if_due(state, new, grads)
        elif self.due:
            self._apply(state, new, grads)
            self._forget(new)

    def _apply_if_due(self, state: State, new: State, grads: Grads) -> None:
        with at("accumulation"):
            count = new[COUNT][COUNT] = (state[COUNT][COUNT] + 1) % self.step.accumulate
        before = {kind: dict(named) for kind, named in new.items()}
        self._apply(state, new, grads)
        self._forget(new)
        with at("accumulation"):
            for kind in (PARAMETERS, OPTIMIZER, GRADIENTS):
                for name, tensor in new.get(kind, {}).items():
                    if tensor is not before[kind][name]:
                        new[kind][name] = torch.where(count == 0, tensor, before[kind][name])

    def _forget(self, new: State) -> None:
        with at("accumulation"):
            for name, tensor in new[GRADIENTS].items():
                new[GRADIENTS][name] = torch.zeros_like(tensor)

    def _apply(self, state: State, new: State, grads: Grads) -> None:
        """Clip and update."""
        step = self.step
        there = {name: grad for name, grad in grads.items() if grad is not None}
        self._refuse_shared(there)
        if step.clip is not None:
            with at("clipping"):
                factor = clip_factor(total_norm(list(there.values())), step.clip)
                there = {name: grad * factor for name, grad in there.items()}
        name_of = {id(parameter): name for name, parameter in self.updated.items()}
        numbers = self._numbers(state)
        for number, group in enumerate(step.optimizer.param_groups):
            names = [name for p in group["params"] if (name := name_of.get(id(p))) in there]
            params = [state[PARAMETERS][name].clone() for name in names]
            memories = [self._memory(name, state) for name in names]
            with at("update"), formulas():
                step.optimizer.update(params, [there[name] for name in names], memories, {**group, **numbers[number]})
            for name, param, memory in zip(names, params, memories, strict=True):
                new[PARAMETERS][name] = param
                for key, label in self.memories[name].items():
                    new[OPTIMIZER][label] = memory[key]
                if extra := sorted(memory.keys() - step.optimizer.state[self.updated[name]].keys()):
                    raise RuntimeError(
                        f"{type(step.optimizer).__name__} made {', '.join(extra)} in its first update, which a traced "
                        "program cannot: take one step first, or write `initial` for it"
                    )

    def _memory(self, name: str, state: State) -> dict[str, Any]:
        """The optimizer's state of one parameter, with the program's tensors."""
        own = self.step.optimizer.state[self.updated[name]]
        return {**own, **{key: state[OPTIMIZER][label] for key, label in self.memories[name].items()}}

    def _refuse_shared(self, there: dict[str, Tensor]) -> None:
        """Find tensors that parameters with a gradient share with parameters that have none."""
        used = {label for name in there for label in self.memories[name].values()}
        idle = self.updated.keys() - there.keys()
        if shared := [name for name in idle if used & set(self.memories[name].values())]:
            raise SharedError([self.updated[name] for name in shared])

    def _numbers(self, state: State) -> list[dict[str, Any]]:
        """The hyper-parameters of each group that are inputs of the program."""
        groups: list[dict[str, Any]] = [{} for _ in self.step.optimizer.param_groups]
        for hyper in self.hypers:
            tensor = state[SCHEDULE][hyper.label]
            numbers = groups[hyper.group]
            if hyper.position is None:
                numbers[hyper.name] = tensor
            else:
                given = self.step.optimizer.param_groups[hyper.group][hyper.name]
                numbers.setdefault(hyper.name, list(given))[hyper.position] = tensor
        return groups


class UnseededError(Exception):
    """The step draws random numbers, and its state has no seed yet."""


class SharedError(Exception):
    """These parameters get no gradient, and share a count of steps with some that do."""

    def __init__(self, parameters: list[Any]) -> None:
        super().__init__()
        self.parameters = parameters


class _Unseeded:
    """Stands where randomness is while it is found out whether any is needed."""

    def draw(self) -> Any:
        raise UnseededError

    def mark(self) -> int:
        return 0

    def rewind(self, mark: int) -> None:
        """There is nothing to go back to."""


def _parameter(tensor: Any, trainable: bool) -> Any:
    """The traced tensor as a parameter: while tracing the record hangs on the tensor itself."""
    tensor.grad_f, tensor.grad_v = trainable, None
    return tensor


def export(step: TrainingStep, state: State, batch: Any, dynamic: bool = True) -> Any:
    """The step as a torch.export.ExportedProgram: (state, batch) -> (state, loss), of functional ATen operations."""
    free = {0: torch.export.Dim.AUTO}
    shapes = pytree.tree_map(lambda x: free if dynamic and isinstance(x, Tensor) and x.dim() else None, batch)
    with torch.no_grad(), locating(step.names()):
        exported = torch.export.export(
            Program(PureStep(step)),
            (state, _traceable(batch) if dynamic else batch),
            dynamic_shapes=(pytree.tree_map(lambda _: None, state), shapes),
            strict=False,
        )
        return tidied(exported.run_decompositions({}))


def _traceable(batch: Any) -> Any:
    """The batch, with two samples where it has one: torch.export takes a size of 1 for a constant."""

    def doubled(x: Any) -> Any:
        return torch.cat([x, x]) if isinstance(x, Tensor) and x.dim() and x.shape[0] == 1 else x

    return pytree.tree_map(doubled, batch)


def tidied(exported: Any) -> Any:
    """The program with its gradients and results named after what they are, and without what does nothing in it."""
    graph = exported.graph
    aten = torch.ops.aten
    for node in list(graph.nodes):
        if node.target is aten._assert_tensor_metadata.default:
            graph.erase_node(node)
        elif node.target is aten.clone.default and not node.kwargs:  # in a functional program a copy is the original
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
        elif node.target is aten.alias.default and place_of(node).startswith(GRADIENT_OF):
            node._rename(f"grad_{_identifier(place_of(node).removeprefix(GRADIENT_OF))}")
    output = graph.output_node()
    specs = exported.graph_signature.output_specs
    results = pytree.tree_unflatten(range(len(specs)), exported.call_spec.out_spec)
    for path, position in pytree.tree_flatten_with_path(results)[0]:
        node = output.args[0][position]
        if node.op != "placeholder" and not node.name.startswith(("grad_", "new_")):
            names = [str(getattr(key, "key", "")) for key in path[1:]]
            node._rename(_identifier("_".join(["new", *names])) if names else "loss")
        specs[position].arg.name = node.name
    exported.graph_module.recompile()
    return exported


def _identifier(name: str) -> str:
    return name.replace(".", "_")

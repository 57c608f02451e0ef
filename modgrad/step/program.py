"""A training step as a pure function (state, batch) -> (state, loss), and that function as an exported program."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from modgrad.functional.kernel import formulas
from modgrad.graph import Randomness
from modgrad.graph.autocast import torch_autocast_off
from modgrad.graph.errors import describe
from modgrad.graph.mode import switched
from modgrad.graph.tracing import Tracing, replaced
from modgrad.graph.walk import backward
from modgrad.interop.exporting import Program
from modgrad.optim.clipping import clip_factor, total_norm
from modgrad.step import state as states
from modgrad.step.dryrun import UntraceableError
from modgrad.step.locate import Paths, at, failed, locating, place_of
from modgrad.step.quiet import quiet
from modgrad.step.state import BUFFERS, COUNT, GRADIENTS, OPTIMIZER, PARAMETERS, RANDOMNESS, SCHEDULE, State
from modgrad.step.training import refuse_hooks, refuse_unfit

if TYPE_CHECKING:
    from modgrad.step.training import TrainingStep

GRADIENT_OF = "gradient of "
Grads = dict[str, Tensor]


class PureStep:
    """The step as a pure function of its state and a batch, to be traced. Nothing that it is given changes.

    due: where gradients are accumulated, whether this call is the one that updates; None for a program that counts, and
    finds out by itself.
    """

    def __init__(self, step: TrainingStep, due: bool | None = None) -> None:
        refuse_hooks(step.optimizer, "in a program")
        self.step, self.due = step, due
        self.parameters = step.parameters()
        states.complete(step.optimizer, self.parameters)
        self.buffers = states.named_buffers(step.model, step.criterion)
        held = states.holders(step.model, step.criterion)
        self._buffer_places = {name: held[id(buffer)][0] for name, buffer in self.buffers.items()}
        self.updated = dict(states.updated(step.optimizer, self.parameters))
        self.hypers = states.hypers(step.optimizer)
        self.idle: frozenset[str] = frozenset()  # parameters that no gradient reaches, as a run has shown
        self.gradients: Grads = {}  # of the call just run, by parameter, before they are summed or clipped
        # Where each tensor of the optimizer's state stands in the program's. One that is shared stands there once.
        self.memories: dict[str, dict[str, str]] = {}
        labels: dict[int, str] = {}
        for name, parameter in self.updated.items():
            own = step.optimizer.state[parameter].items()
            tensors = {key: value for key, value in own if isinstance(value, Tensor)}
            self.memories[name] = {k: labels.setdefault(id(v), f"{name}.{k}") for k, v in tensors.items()}
        # What is shared with parameters that are not updated, as they are frozen: it must not move with the others.
        known = {id(parameter) for parameter in self.updated.values()}
        self._bystanders: list[tuple[Any, set[str]]] = []
        for parameter, memory in step.optimizer.state.items():
            if id(parameter) not in known:
                shared = {labels[id(v)] for v in memory.values() if id(v) in labels}
                self._bystanders.append((parameter, shared))

    def __call__(self, state: State, batch: Any) -> tuple[State, Tensor]:
        step = self.step
        *inputs, target = batch
        new: State = {kind: dict(named) for kind, named in state.items()}
        stand_ins = {name: _parameter(state[PARAMETERS][name], p.grad_f) for name, p in self.parameters.items()}
        pairs: list[tuple[Tensor, Any]] = [(self.parameters[name], stand_in) for name, stand_in in stand_ins.items()]
        pairs += [(buffer, state[BUFFERS][name].clone()) for name, buffer in self.buffers.items()]
        seed = state[RANDOMNESS]["seed"] if RANDOMNESS in state else None
        drawing: Any = switched(randomness=_Unseeded()) if seed is None else Randomness(seed)
        with Tracing(), replaced([step.model, step.criterion], pairs), drawing:
            with step.casting():
                loss = step.criterion(step.model(*inputs), target)
            refuse_unfit(loss)
            if COUNT in state:
                with at("accumulation"), switched(computing=True):
                    new[COUNT] = {COUNT: (state[COUNT][COUNT] + 1) % step.accumulate}
            there: set[str] = set()
            fused = self._updating(state, new, stand_ins, there) if step.fuse_update else None
            with at("backward"):
                first = None if step.accumulate == 1 else torch.full_like(loss, 1 / step.accumulate)
                backward(loss, first, retain=False, arrived=fused)
            with switched(computing=True):
                if fused is None:
                    grads = {name: grad for name in self.updated if (grad := stand_ins[name].grad_v) is not None}
                    there.update(grads)
                    self._update(state, new, grads)
                self.idle = frozenset(self.updated.keys() - there)
                self._refuse_shared()
                if seed is not None:
                    with at("randomness"):
                        new[RANDOMNESS] = {"seed": torch.stack([seed[0], seed[1] + 1])}
            for name, (own, key) in self._buffer_places.items():  # which may have been assigned anew
                new[BUFFERS][name] = _fitting(own[key], state[BUFFERS][name], name)
        return new, loss

    def _updating(self, state: State, new: State, stand_ins: dict[str, Any], there: set[str]) -> Any:
        """What updates a parameter within the walk, as its last gradient arrives, and lets the gradient go."""
        name_of = {id(stand_ins[name]): name for name in self.updated}

        def arrived(parameter: Any) -> None:
            name = name_of.get(id(parameter))
            if name is not None and parameter.grad_v is not None:
                there.add(name)
                self._update(state, new, {name: parameter.grad_v})
                parameter.grad_v = None

        return arrived

    def _update(self, state: State, new: State, grads: Grads) -> None:
        """Put what follows from these gradients into `new`."""
        for name, grad in grads.items():
            with at(f"{GRADIENT_OF}{name}"):
                grads[name] = self.gradients[name] = torch.ops.aten.alias.default(grad)
        if self.step.accumulate == 1:
            self._apply(state, new, grads)
            return
        with at("accumulation"):
            for name, grad in grads.items():
                grads[name] = new[GRADIENTS][name] = state[GRADIENTS][name] + grad
        if self.due is None:
            self._apply_if_due(state, new, grads)
        elif self.due:
            self._apply(state, new, grads)
            self._forget(new, grads)

    def _apply_if_due(self, state: State, new: State, grads: Grads) -> None:
        after: State = {kind: dict(named) for kind, named in new.items()}
        self._apply(state, after, grads)
        self._forget(after, grads)
        with at("accumulation"):
            due = new[COUNT][COUNT] == 0
            for kind in (PARAMETERS, OPTIMIZER, GRADIENTS):
                for name, tensor in after.get(kind, {}).items():
                    if tensor is not new[kind][name]:
                        new[kind][name] = torch.where(due, tensor, new[kind][name])

    def _forget(self, new: State, grads: Grads) -> None:
        with at("accumulation"):
            for name in grads:
                new[GRADIENTS][name] = torch.zeros_like(new[GRADIENTS][name])

    def _apply(self, state: State, new: State, grads: Grads) -> None:
        """Clip and update."""
        if self.step.clip is not None:
            with at("clipping"):
                factor = clip_factor(total_norm(list(grads.values())), self.step.clip)
                grads = {name: grad * factor for name, grad in grads.items()}
        self._descend(state, new, grads)

    def _descend(self, state: State, new: State, grads: Grads) -> None:
        name_of = {id(parameter): name for name, parameter in self.updated.items()}
        for number, group in enumerate(self.step.optimizer.param_groups):
            names = [name for p in group["params"] if (name := name_of.get(id(p))) in grads]
            if not names:
                continue
            params = [state[PARAMETERS][name].clone() for name in names]
            memories = [self._memory(name, state) for name in names]
            self._optimize(state, number, params, [grads[name] for name in names], memories)
            for name, param, memory in zip(names, params, memories, strict=True):
                new[PARAMETERS][name] = _fitting(param, state[PARAMETERS][name], name)
                self._refuse_lost(name, memory)
                for key, label in self.memories[name].items():
                    new[OPTIMIZER][label] = _fitting(memory[key], state[OPTIMIZER][label], label)

    def _optimize(self, state: State, number: int, params: list[Any], grads: list[Tensor], memories: list[Any]) -> None:
        """Let the optimizer update parameters of the group with this number, by its formulas, in the lists."""
        optimizer = self.step.optimizer
        group = {**optimizer.param_groups[number], **self._numbers(state)[number]}
        with at("update"), formulas():
            optimizer.update(params, grads, memories, group)

    def _refuse_lost(self, name: str, memory: dict[str, Any]) -> None:
        """Raise if an update has left with a parameter what a program cannot keep."""
        before = self.step.optimizer.state[self.updated[name]]
        kind = type(self.step.optimizer).__name__
        for key, value in memory.items():
            if key in self.memories[name]:
                continue
            if isinstance(value, Tensor):
                raise RuntimeError(
                    f"{kind} makes its state {key!r} of {name} in the first update, which a traced program cannot: "
                    "take one step first, or write `initial` for it"
                )
            if key not in before or value != before[key]:
                raise RuntimeError(
                    f"{kind} keeps {key!r} of {name} as {type(value).__name__}, which does not change in a traced "
                    "program: make it a tensor, torch.zeros(()) in `initial`"
                )

    def _memory(self, name: str, state: State) -> dict[str, Any]:
        """The optimizer's state of one parameter, with the program's tensors."""
        own = self.step.optimizer.state[self.updated[name]]
        return {**own, **{key: state[OPTIMIZER][label].clone() for key, label in self.memories[name].items()}}

    def _refuse_shared(self) -> None:
        """Find tensors that parameters with a gradient share with parameters that have none."""
        used = {label for name in self.updated.keys() - self.idle for label in self.memories[name].values()}
        others = [(self.updated[name], set(self.memories[name].values())) for name in self.updated if name in self.idle]
        if shared := [parameter for parameter, labels in others + self._bystanders if used & labels]:
            raise SharedError(shared)

    def _numbers(self, state: State) -> list[dict[str, Any]]:
        """The hyper-parameters of each group that are inputs of the program. One that the state lacks is a constant."""
        groups: list[dict[str, Any]] = [{} for _ in self.step.optimizer.param_groups]
        for hyper in self.hypers:
            tensor: Any = state[SCHEDULE].get(hyper.label)
            if tensor is None:
                tensor = hyper.get(self.step.optimizer.param_groups)
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


def _fitting(value: Any, before: Tensor, name: str) -> Tensor:
    """`value`, which takes the place of `before`."""
    if not isinstance(value, Tensor) or value.shape != before.shape or value.dtype != before.dtype:
        raise RuntimeError(
            f"{name} was {describe(before)} before the step and is {describe(value)} after it. In a traced program it "
            "must keep shape and dtype"
        )
    return value


def _parameter(tensor: Any, trainable: bool) -> Any:
    """The traced tensor as a parameter: while tracing the record hangs on the tensor itself."""
    tensor.grad_f, tensor.grad_v = trainable, None
    return tensor


def export(step: TrainingStep, state: State, batch: Any, dynamic: bool = True) -> Any:
    """The step as a torch.export.ExportedProgram: (state, batch) -> (state, loss), of functional ATen operations."""
    free = {0: torch.export.Dim.AUTO}
    shapes = pytree.tree_map(lambda x: free if dynamic and isinstance(x, Tensor) and x.dim() else None, batch)
    with locating(step.names()), exporting(step.names()):
        exported = torch.export.export(
            Program(PureStep(step)),
            (state, traceable(batch) if dynamic else batch),
            dynamic_shapes=(pytree.tree_map(lambda _: None, state), shapes),
            strict=False,
        )
        return tidied(exported.run_decompositions({}))


@contextmanager
def exporting(names: Paths) -> Iterator[None]:
    """Inside, PyTorch's exporter works in peace, and an error of it names the module that it was at.

    PyTorch's autocast is off: the program has modgrad's casts in it, and those of its own would make another of it.
    """
    try:
        with torch.no_grad(), torch_autocast_off(), quiet():
            yield
    except Exception as error:
        raise UntraceableError(f"{failed(error, names)} cannot be traced: {type(error).__name__}: {error}") from error


def traceable(batch: Any) -> Any:
    """The batch, with two samples where it has one: torch.export takes a size of 1 for a constant.

    A tensor of size 1 beside others is no sample, but broadcast, and stays.
    """

    def samples(x: Any) -> bool:
        return isinstance(x, Tensor) and x.dim() > 0

    if any(x.shape[0] != 1 for x in filter(samples, pytree.tree_leaves(batch))):
        return batch
    return pytree.tree_map(lambda x: torch.cat([x, x]) if samples(x) else x, batch)


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

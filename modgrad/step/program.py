"""A training step as a pure function (state, batch) -> (state, loss), and that function as an exported program."""

from __future__ import annotations

from collections.abc import Callable
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


def function(step: TrainingStep, due: bool | None = None) -> Callable[[State, Any], tuple[State, Tensor]]:
    """The step as a pure function of its state and a batch, to be traced. Nothing that it is given changes.

    due: where gradients are accumulated, whether this call is the one that updates; None for a program that counts, and
    finds out by itself.
    """
    parameters = step.parameters()
    buffers = states.named_buffers(step.model, step.criterion)
    updated = dict(states.updated(step.optimizer, parameters))
    hypers = states.hypers(step.optimizer)
    keys = {name: [k for k, v in step.optimizer.state[p].items() if isinstance(v, Tensor)] for name, p in updated.items()}

    def run(state: State, batch: Any) -> tuple[State, Tensor]:
        *inputs, target = batch
        new: State = {kind: dict(named) for kind, named in state.items()}
        stand_ins = {name: _parameter(state[PARAMETERS][name], p.grad_f) for name, p in parameters.items()}
        if buffers:
            new[BUFFERS] = {name: tensor.clone() for name, tensor in state[BUFFERS].items()}
        pairs: list[tuple[Tensor, Any]] = [(parameters[name], stand_in) for name, stand_in in stand_ins.items()]
        pairs += [(buffer, new[BUFFERS][name]) for name, buffer in buffers.items()]
        seed = state[RANDOMNESS]["seed"] if RANDOMNESS in state else None
        drawing: Any = switched(randomness=_Unseeded()) if seed is None else Randomness(seed)
        with Tracing(), replaced([step.model, step.criterion], pairs), drawing:
            loss = step.criterion(step.model(*inputs), target)
            first = None if step.accumulate == 1 else torch.full_like(loss, 1 / step.accumulate)
            with at("backward"):
                backward(loss, first, retain=False)
            with switched(computing=True):
                _update(state, new, {name: stand_ins[name].grad_v for name in updated})
                if seed is not None:
                    new[RANDOMNESS] = {"seed": torch.stack([seed[0], seed[1] + 1])}
        return new, loss

    def _update(state: State, new: State, grads: dict[str, Tensor | None]) -> None:
        """Put what follows from the gradients into `new`."""
        for name, grad in grads.items():
            if grad is not None:
                with at(f"{GRADIENT_OF}{name}"):
                    grads[name] = torch.ops.aten.alias.default(grad)
        count = None
        if step.accumulate > 1:
            with at("accumulation"):
                for name, grad in grads.items():
                    before = state[GRADIENTS][name]
                    grads[name] = new[GRADIENTS][name] = before if grad is None else before + grad
                if due is None:
                    count = new[COUNT][COUNT] = (state[COUNT][COUNT] + 1) % step.accumulate
            if due is False:
                return
        if step.clip is not None:
            with at("clipping"):
                there = [grad for grad in grads.values() if grad is not None]
                factor = clip_factor(total_norm(there), step.clip)
                grads = {name: None if grad is None else grad * factor for name, grad in grads.items()}
        before = {kind: dict(named) for kind, named in new.items()}
        _optimize(state, new, grads)
        if step.accumulate > 1:
            with at("accumulation"):
                for name, tensor in new[GRADIENTS].items():
                    new[GRADIENTS][name] = torch.zeros_like(tensor)
                if count is not None:  # keep what was, unless the update was due
                    for kind in (PARAMETERS, OPTIMIZER, GRADIENTS):
                        for name, tensor in new.get(kind, {}).items():
                            if tensor is not before[kind][name]:
                                new[kind][name] = torch.where(count == 0, tensor, before[kind][name])

    def _optimize(state: State, new: State, grads: dict[str, Tensor | None]) -> None:
        name_of = {id(p): name for name, p in updated.items()}
        shared = {}  # a tensor that several parameters share stands in the state once
        for name, p in updated.items():
            for key in keys[name]:
                shared.setdefault(id(step.optimizer.state[p][key]), f"{name}.{key}")
        numbers = _numbers(state)
        for number, group in enumerate(step.optimizer.param_groups):
            names = [name_of[id(p)] for p in group["params"] if id(p) in name_of]
            names = [name for name in names if grads[name] is not None]
            params = [state[PARAMETERS][name].clone() for name in names]
            memories: list[dict[str, Any]] = []
            for name in names:
                own = step.optimizer.state[updated[name]]
                memories.append({k: state[OPTIMIZER][shared[id(v)]] if k in keys[name] else v for k, v in own.items()})
            with at("update"), formulas():
                step.optimizer.update(params, [grads[name] for name in names], memories, {**group, **numbers[number]})
            for name, param, memory in zip(names, params, memories, strict=True):
                new[PARAMETERS][name] = param
                own = step.optimizer.state[updated[name]]
                if extra := sorted(memory.keys() - own.keys()):
                    raise RuntimeError(
                        f"{type(step.optimizer).__name__} made {', '.join(extra)} in its first update, which a traced "
                        "program cannot: take one step first, or write `initial` for it"
                    )
                for key in keys[name]:
                    new[OPTIMIZER][shared[id(own[key])]] = memory[key]

    def _numbers(state: State) -> list[dict[str, Any]]:
        """The hyper-parameters of each group that are inputs of the program."""
        groups: list[dict[str, Any]] = [{} for _ in step.optimizer.param_groups]
        for hyper in hypers:
            tensor = state[SCHEDULE][hyper.label]
            numbers = groups[hyper.group]
            if hyper.index is None:
                numbers[hyper.name] = tensor
            else:
                whole = numbers.setdefault(hyper.name, list(step.optimizer.param_groups[hyper.group][hyper.name]))
                whole[hyper.index] = tensor
        return groups

    return run


class UnseededError(Exception):
    """The step draws random numbers, and its state has no seed yet."""


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


def dynamic_shapes(state: State, batch: Any, dynamic: bool) -> Any:
    """For torch.export: the first dimension of everything in the batch is free, if the model lets it."""
    free = torch.export.Dim.AUTO  # type: ignore[attr-defined]

    def shape(x: Any) -> Any:
        return {0: free} if dynamic and isinstance(x, Tensor) and x.dim() else None

    return pytree.tree_map(lambda _: None, state), pytree.tree_map(shape, batch)


def export(step: TrainingStep, state: State, batch: Any, dynamic: bool = True) -> Any:
    """The step as a torch.export.ExportedProgram: (state, batch) -> (state, loss), of functional ATen operations."""
    with torch.no_grad(), locating(step.names()):
        exported = torch.export.export(
            Program(function(step)),
            (state, _traceable(batch) if dynamic else batch),
            dynamic_shapes=dynamic_shapes(state, batch, dynamic),
            strict=False,
        )
        return tidied(exported.run_decompositions({}))


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
            first, *rest = (getattr(key, "key", getattr(key, "idx", None)) for key in path)
            node._rename("loss" if first == 1 else _identifier("_".join(["new", *rest])))
        specs[position].arg.name = node.name
    exported.graph_module.recompile()
    return exported


def _identifier(name: str) -> str:
    return name.replace(".", "_")


def _traceable(batch: Any) -> Any:
    """The batch, with two samples where it has one: torch.export takes a size of 1 for a constant."""

    def doubled(x: Any) -> Any:
        return torch.cat([x, x]) if isinstance(x, Tensor) and x.dim() and x.shape[0] == 1 else x

    return pytree.tree_map(doubled, batch)

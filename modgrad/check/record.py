"""Recording a model's calls: each call of a primitive with the inputs it had, and where in the model it sits."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from modgrad.check.report import Where
from modgrad.check.structure import input_leaves, leaves
from modgrad.graph import Call, Module, Parameter, Primitive, Variable, keep_values

Key = tuple[int, tuple[int, ...]]
UNNAMED = Where(None, "", "")


@dataclass
class Recorded:
    """One call."""

    module: Module
    args: tuple[Any, ...]
    named: dict[str, Any] = field(default_factory=dict)
    outputs: Any = None
    inside: Recorded | None = None  # the composite whose forward called it
    wanted: set[str] = field(default_factory=set)  # which leaves of its inputs were to get a gradient, by name
    where: Where = UNNAMED


@dataclass
class Record:
    """primitives: in an order in which each comes after those its inputs came from; last those that were called, but
    that no composite's output leads back to: `unreached`. composites: inner ones first."""

    primitives: list[Recorded]
    composites: list[Recorded]
    unreached: list[Recorded]

    def epsilon(self) -> float:
        """Of the least precise dtype that a primitive computes in: a forward may convert on the way."""
        found = (leaf for call in self.primitives for _, leaf in leaves(call.outputs) if isinstance(leaf, Tensor))
        return max((torch.finfo(leaf.dtype).eps for leaf in found if leaf.is_floating_point()), default=0.0)


def _wanted(args: tuple[Any, ...], named: dict[str, Any]) -> set[str]:
    """The names of those inputs of a call that are in the graph."""
    return {
        name
        for name, value in input_leaves(args, named)
        if isinstance(value, Variable) or (isinstance(value, Parameter) and value.grad_f)
    }


def record(model: Module, args: tuple[Any, ...]) -> Record:
    """Call `model`, a composite that is the caller's to change, on `args`, and return what was called inside.

    The calls are those in the graph of some composite's output; what composites and registered primitives are given is
    seen because their `forward` is replaced for as long as this takes. Calls of one module on the very same inputs
    count as one.
    """
    recorder = _Recorder()
    modules = list(model.modules())
    before = [m.__dict__.get("forward") for m in modules]
    for module in modules:
        watch = recorder.watched_primitive if isinstance(module, Primitive) else recorder.watched_composite
        module.__dict__["forward"] = watch(module)
    try:
        with keep_values():
            model(*args)
    finally:
        for module, forward in zip(modules, before, strict=True):
            del module.__dict__["forward"]
            if forward is not None:
                module.__dict__["forward"] = forward
    done, known = recorder.composites, recorder.primitives
    roots = [variable for entry in reversed(done) for variable in variables_in(entry.outputs)]
    primitives = [known[key] for key in _calls_before(roots, known)]
    reached = {_memory_key(call.module, call.args) for call in primitives}
    unreached = [call for call in recorder.called if _memory_key(call.module, call.args) not in reached]
    primitives += unreached
    _name(model, primitives, done)
    return Record(primitives, done, unreached)


def variables_in(*values: Any) -> list[Variable]:
    return [leaf for value in values for _, leaf in leaves(value) if isinstance(leaf, Variable)]


def _key(variable: Variable, inputs: tuple[Any, ...]) -> Key:
    return id(variable.previous_module), tuple(map(id, inputs))


def _memory_key(module: Module, values: tuple[Any, ...]) -> tuple[Any, ...]:
    """What is the same for a call's inputs and for their plain values."""
    tensors = [v.detach() for _, v in leaves(values) if isinstance(v, Tensor)]
    return id(module), *((t.data_ptr(), t.shape, t.stride()) for t in tensors)


class _Recorder:
    def __init__(self) -> None:
        self.primitives: dict[Key, Recorded] = {}
        self.composites: list[Recorded] = []  # in the order in which they returned
        self.called: list[Recorded] = []  # registered primitives, with the plain values that their forward got
        self._open: list[Recorded] = []

    def watched_primitive(self, module: Module) -> Any:
        forward = module.forward

        @functools.wraps(forward)
        def watched_forward(call: Call, *values: Any) -> Any:
            output = forward(call, *values)
            wanted = {f"input {i}" for i in range(len(values)) if call.wants(i)}
            inside = self._open[-1] if self._open else None
            if wanted or any(call.wants(name) for name, _ in module.named_parameters()):
                self.called.append(Recorded(module, values, outputs=output, inside=inside, wanted=wanted))
            return output

        return watched_forward

    def watched_composite(self, module: Module) -> Any:
        forward = module.forward

        @functools.wraps(forward)
        def watched_forward(*args: Any, **named: Any) -> Any:
            inside = self._open[-1] if self._open else None
            entry = Recorded(module, args, named, inside=inside, wanted=_wanted(args, named))
            self._open.append(entry)
            try:
                entry.outputs = forward(*args, **named)
            finally:
                self._open.pop()
            self.composites.append(entry)
            self._enter_calls(entry)
            return entry.outputs

        return watched_forward

    def _enter_calls(self, composite: Recorded) -> None:
        """Enter the calls between a composite's inputs and outputs that no composite inside of it has entered."""
        seen = {id(variable) for variable in variables_in(composite.args, composite.named)}
        waiting = variables_in(composite.outputs)
        while waiting:
            variable = waiting.pop()
            if id(variable) in seen or variable.previous_module is None:
                continue
            seen.add(id(variable))
            inputs = variable.previous_inputs
            key = _key(variable, inputs)
            if key not in self.primitives:
                self.primitives[key] = Recorded(
                    variable.previous_module, inputs, outputs=variable, inside=composite, wanted=_wanted(inputs, {})
                )
            waiting += variables_in(inputs)


def _calls_before(roots: Iterable[Variable], known: dict[Key, Recorded]) -> Iterator[Key]:
    """The calls that lead to `roots`, each after those its own inputs came from."""
    done: set[int] = set()
    given: set[Key] = set()
    for root in roots:
        waiting = [(root, False)]
        while waiting:
            variable, ready = waiting.pop()
            if variable.previous_module is None or (id(variable) in done and not ready):
                continue
            inputs = variable.previous_inputs
            if not ready:
                done.add(id(variable))
                waiting.append((variable, True))
                waiting += [(v, False) for v in reversed(variables_in(inputs))]
                continue
            key = _key(variable, inputs)
            if key in known and key not in given:
                given.add(key)
                yield key


def _name(model: Module, primitives: list[Recorded], composites: list[Recorded]) -> None:
    """Say for each call where it is: by dotted path, or by the composite that called it; and which call, if of many."""
    paths = {id(module): path for path, module in model.named_modules()}
    for calls in (composites, primitives):
        alike: dict[tuple[int, str], list[Recorded]] = {}
        for call in calls:
            path, kind = paths.get(id(call.module)), type(call.module).__name__
            name = f"{path} ({kind})" if path else kind
            if path is None and call.inside is not None:
                name += f" in {call.inside.where.name}"
            call.where = Where(path, kind, name)
            alike.setdefault((id(call.module) if path is not None else 0, name), []).append(call)
        for several in alike.values():
            for number, call in enumerate(several, 1):
                if len(several) > 1:
                    call.where = call.where._replace(name=f"{call.where.name}, call {number} of {len(several)}")


def ways_out(calls: Record) -> list[str]:
    """Where a value may have left the graph: calls whose outputs lead nowhere, and inputs that are plain, but share
    memory with a value of the graph, as .detach() and .data give them."""
    owners: dict[int, str] = {}
    for call in calls.primitives:
        for _, output in leaves(call.outputs):
            if isinstance(output, Tensor):
                owners.setdefault(_memory(output), f"the output of {call.where.name}")
    for composite in calls.composites:  # the model itself, coming last, names its parameters by their full path
        for name, parameter in composite.module.named_parameters():
            owners[_memory(parameter)] = f"the parameter {name}"
        for variable in variables_in(composite.args, composite.named):
            owners.setdefault(_memory(variable), f"an input of {composite.where.name}")
    found = [
        f"{call.where.name} is given, as input {place}, the plain value of {owners[_memory(value)]}."
        for call in calls.primitives
        for place, value in enumerate(call.args)
        if type(value) is Tensor
        and value.is_floating_point()
        and value.numel()
        and _memory(value) in owners
        and f"input {place}" not in call.wanted
    ]
    return found or [
        f"The output of {call.where.name} leads to no output by the graph." for call in calls.unreached[-1:]
    ]


def _memory(tensor: Tensor) -> int:
    return tensor.detach().untyped_storage().data_ptr()

"""All tensors of a module at once: converted, or loaded by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from modgrad.graph.variable import Parameter

if TYPE_CHECKING:
    from modgrad.graph.module import Module

_plainly = torch._C.DisableTorchFunctionSubclass
Conversion = Callable[[Tensor], Tensor]


class Incompatible(NamedTuple):
    """What `load_state_dict` found missing and unexpected."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def load(module: Module, state_dict: Mapping[str, Tensor], strict: bool, assign: bool) -> Incompatible:
    """What `Module.load_state_dict` does."""
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"load_state_dict: expected a mapping of names to tensors, got {type(state_dict).__name__}")
    own = dict(module._state())
    missing = [name for name in own if name not in state_dict]
    unexpected = [name for name in state_dict if name not in own]
    problems = []
    if strict and missing:
        problems.append(f"missing: {', '.join(missing)}")
    if strict and unexpected:
        problems.append(f"unexpected: {', '.join(unexpected)}")
    for name, value in own.items():
        given = state_dict.get(name, value)
        if not isinstance(given, Tensor):
            problems.append(f"{name}: expected a tensor, got {type(given).__name__}")
        elif given.shape != value.shape:
            problems.append(f"{name}: has shape {tuple(value.shape)}, was given {tuple(given.shape)}")
    if problems:
        hint = " (strict=False passes over missing and unexpected names)" if strict else ""
        raise RuntimeError(f"load_state_dict of {type(module).__name__}{hint}:\n  " + "\n  ".join(problems))
    with _plainly(), torch.no_grad():
        if assign:
            _assign(module, {name: (value, state_dict[name]) for name, value in own.items() if name in state_dict})
        else:
            for name, value in own.items():
                if name in state_dict:
                    value.copy_(state_dict[name])
    return Incompatible(missing, unexpected)


def _assign(module: Module, pairs: Mapping[str, tuple[Tensor, Tensor]]) -> None:
    """Put the second of each pair in the place of the first; a parameter that is tied stays tied."""
    taken: dict[int, Tensor] = {}
    for name, (value, given) in pairs.items():
        path, _, attribute = name.rpartition(".")
        if id(value) not in taken:
            new = given.detach()
            taken[id(value)] = Parameter(new, value.grad_f) if isinstance(value, Parameter) else new
        module.get_submodule(path).__dict__[attribute] = taken[id(value)]


def conversion(*args: Any, **kwargs: Any) -> Conversion:
    """What `Module.to` does to each tensor, from its arguments."""
    device, dtype, non_blocking, memory_format = torch._C._nn._parse_to(*args, **kwargs)
    dimensions = {torch.channels_last: (4,), torch.channels_last_3d: (5,)}.get(memory_format, (4, 5))
    if dtype is not None and not dtype.is_floating_point:
        raise TypeError(f"to({dtype}): parameters need a floating-point dtype")

    def convert(t: Tensor) -> Tensor:
        form = memory_format if memory_format and t.dim() in dimensions else torch.preserve_format
        return t.to(device, dtype if t.is_floating_point() else None, non_blocking, memory_format=form)

    return convert


def convert(modules: Iterable[Module], function: Conversion) -> None:
    """Put every tensor through `function`. Parameters stay the same objects, as optimizers hold them, wherever a tensor
    can take the new data; towards device meta and from there it cannot."""
    done: dict[int, Any] = {}
    with _plainly():
        for module in modules:
            own = module.__dict__
            for name in (*module._parameter_names, *module._buffer_names):
                value = own[name]
                if value is None:
                    continue
                if id(value) not in done:
                    done[id(value)] = _converted(value, function), value  # the old one too: its id must stay its own
                own[name] = done[id(value)][0]


def _converted(value: Tensor, function: Conversion) -> Tensor:
    if not isinstance(value, Parameter):
        return function(value)
    data = function(value.data)
    if not torch._has_compatible_shallow_copy_type(value, data):
        return Parameter(data, value.grad_f)
    gradient, value.grad = value.grad, None
    value.data = data
    value.grad = None if gradient is None else function(gradient)
    return value

"""A module's state by name: given out as a dict of tensors, and taken in from one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from modgrad.graph.call import is_parameter
from modgrad.graph.variable import Parameter

_plainly = torch._C.DisableTorchFunctionSubclass


class Incompatible(NamedTuple):
    """What `load_state_dict` found missing and unexpected."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        found = f"Incompatible(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"
        return found if any(self) else "<All keys matched successfully>"


class Entry(NamedTuple):
    """One parameter or persistent buffer."""

    key: str  # its dotted name
    path: str  # of the module that has it
    module: Any
    name: str
    value: Any


def entries(module: Any) -> Iterator[Entry]:
    """All of a module's state, in order; what is tied appears under each of its names."""
    for path, owner in module.named_modules(remove_duplicate=False):
        names = [*owner._parameter_names, *(n for n, persistent in owner._buffer_names.items() if persistent)]
        for name in names:
            value = owner.__dict__[name]
            if value is not None:
                yield Entry(f"{path}.{name}" if path else name, path, owner, name, value)


def give(module: Any, destination: MutableMapping[str, Any] | None, prefix: str, keep_vars: bool) -> Any:
    given = OrderedDict() if destination is None else destination
    with _plainly():
        for entry in entries(module):
            given[prefix + entry.key] = entry.value if keep_vars else entry.value.detach()
    return given


def take(module: Any, state_dict: Mapping[str, Any], strict: bool, assign: bool) -> Incompatible:
    """Everything is checked before anything is changed."""
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"load_state_dict: expected a mapping of names to tensors, got {type(state_dict).__name__}")
    own = {entry.key: entry for entry in entries(module)}
    missing = [key for key, entry in own.items() if key not in state_dict and not _dispensable(entry, state_dict)]
    unexpected = [key for key in state_dict if key not in own]
    problems = []
    if strict and missing:
        problems.append(f"missing: {', '.join(missing)}")
    if strict and unexpected:
        problems.append(f"unexpected: {', '.join(map(str, unexpected))}")
    taken = [
        (entry, _given(entry, state_dict[key], assign, problems)) for key, entry in own.items() if key in state_dict
    ]
    if problems:
        hint = " (strict=False passes over missing and unexpected names)" if strict else ""
        raise RuntimeError(f"load_state_dict of {type(module).__name__}{hint}:\n  " + "\n  ".join(problems))
    replaced: dict[int, tuple[Any, Any]] = {}  # the old ones too: their ids must stay their own
    with _plainly(), torch.no_grad():
        for entry, given in taken:
            if assign:
                new, _ = replaced.get(id(entry.value), (entry.value, None))
                new = _assigned(new, given)
                replaced[id(entry.value)] = new, entry.value
                entry.module.__dict__[entry.name] = new
            else:
                entry.value.copy_(given)
    return Incompatible(missing, unexpected)


def _dispensable(entry: Entry, state_dict: Any) -> bool:
    """Whether this may be missing, as what was saved by an older version of PyTorch's layer has it not."""
    before = entry.module._added_to_state.get(entry.name)
    versions = getattr(state_dict, "_metadata", None) or {}
    return before is not None and versions.get(entry.path, {}).get("version", 0) < before


def _given(entry: Entry, given: Any, assign: bool, problems: list[str]) -> Any:
    """What `entry` is to have, as a plain tensor; and why not, among `problems`."""
    key, value = entry.key, entry.value
    if not isinstance(given, Tensor):
        problems.append(f"{key}: expected a tensor, got {type(given).__name__}")
        return None
    with _plainly():
        given = given.detach().as_subclass(Tensor)
        if given.shape == (1,) and value.shape == ():  # as scalars were kept once
            given = given[0]
        if given.shape != value.shape:
            problems.append(f"{key}: has shape {tuple(value.shape)}, was given {tuple(given.shape)}")
        elif assign and is_parameter(value) and not given.is_floating_point():
            problems.append(f"{key}: a parameter needs a floating-point tensor, was given {given.dtype}")
        elif value.is_meta and not given.is_meta and not assign:
            problems.append(f"{key}: is on the meta device, which holds no values: write assign=True")
    return given


def _assigned(value: Any, given: Tensor) -> Any:
    """`value` with what is given in its place. A parameter stays the same object, as optimizers hold it, wherever it
    can take the new data."""
    if not is_parameter(value):
        return given
    if not torch._has_compatible_shallow_copy_type(value, given):
        return Parameter(given, value.grad_f)
    value.grad = None
    value.data = given
    return value

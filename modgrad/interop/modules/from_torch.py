"""PyTorch's modules as modgrad's."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from functools import partial
from itertools import pairwise
from types import CellType, FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor

from modgrad import nn
from modgrad.interop.modules.classes import Classes, content, in_place, is_pytorchs, pytorchs_base, with_cells
from modgrad.interop.modules.layers import bare
from modgrad.interop.modules.refusals import CONTAINERS, refusals

_INTERNALS = set(vars(torch.nn.Module()))  # what every module of PyTorch's has, and what is registered is in


def from_torch(module: torch.nn.Module, copy: bool = True) -> Any:
    """A modgrad module that computes what `module`, of PyTorch's, computes; all below it converted too.

    >>> import torch
    >>> from modgrad import interop, nn
    >>> model = interop.from_torch(torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU()))
    >>> model(nn.Variable(torch.ones(1, 2))).sum().backward()
    >>> model[0].weight.grad_v.shape
    torch.Size([3, 2])

    A layer becomes the one of its name, with the arguments that it has now. A class of a user's own becomes one of the
    same methods over modgrad's base classes: its forward runs as it is written, on Variables. Training or evaluation,
    what is frozen, tied or shared, buffers, and other attributes are taken over; gradients and hooks are not.

    copy: whether values are copied. If not, parameters and buffers share memory with those of `module`: what an
    optimizer does to the one, it does to both.

    TypeError names every module that cannot be converted, and why: layers that modgrad has not, hooks,
    parametrizations, lazy and quantized ones; and those whose code would not do the same on Variables, such as one with
    torch.no_grad or a function with a backward of its own.
    """
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"from_torch: expected one of PyTorch's modules, got {type(module).__name__}")
    problems = [(path, m, why) for path, m in module.named_modules() for why in refusals(m)]
    problems += [(path, owner, why) for path, owner, why in _overlapping(module) if copy]
    conversion = _Conversion(copy)
    converted = None
    if not problems:
        converted = conversion.module(module, "")
        problems = conversion.problems
    if problems:
        whole = sum(1 for _ in module.modules())
        which = len({id(m) for _, m, _ in problems})
        lines = [f"{path or 'the module itself'} ({type(m).__name__}): {why}" for path, m, why in problems]
        raise TypeError(f"from_torch cannot convert {which} of {whole} modules:\n  " + "\n  ".join(lines))
    return converted


class _Conversion:
    """One call: what has been converted so far, each once."""

    def __init__(self, copy: bool) -> None:
        self.copy = copy
        self.classes = Classes()
        self.problems: list[tuple[str, Any, str]] = []
        self._twins: dict[int, Any] = {}  # of modules and tensors
        self._alive: list[Any] = []  # so that ids stay their own

    def module(self, module: Any, path: str) -> Any:
        if id(module) in self._twins:
            return self._twins[id(module)]
        cls = type(module)
        base = pytorchs_base(cls)
        try:
            twin = self._bare(module, cls, base)
        except Exception as error:
            self.problems.append((path, module, f"{error}"))
            twin = nn.Identity()
            self._twins[id(module)] = twin
            return twin
        self._twins[id(module)] = twin
        self._fill(module, twin, path, plainly=base in CONTAINERS)
        return twin

    def _bare(self, module: Any, cls: Any, base: Any) -> Any:
        """The twin without what is registered in it."""
        if base in CONTAINERS:
            made = self.classes.of(cls)
            return made.__new__(made)
        twin = bare(module, base.__name__, nn)
        if not is_pytorchs(cls):
            twin.__class__ = self.classes.of(cls)
        if getattr(twin, "inplace", False) is True and isinstance(twin, nn.Primitive):
            twin.__class__ = in_place(type(twin))
        for names, theirs in _registered(module, twin):
            absent = [name for name in names if name not in theirs and twin.__dict__[name] is not None]
            if absent:
                raise TypeError(f"it has no {', '.join(absent)}, which modgrad's {base.__name__} has")
        return twin

    def _fill(self, module: Any, twin: Any, path: str, plainly: bool) -> None:
        own = twin.__dict__
        own["training"] = module.training
        for names, theirs in _registered(module, twin):
            for name in theirs:  # what both have comes in their order
                names.pop(name, None)
        for name, parameter in module._parameters.items():
            twin._parameter_names[name] = None
            own[name] = self._parameter(parameter)
        for name, buffer in module._buffers.items():
            twin._buffer_names[name] = name not in module._non_persistent_buffers_set
            own[name] = self._tensor(buffer)
        for name, child in module._modules.items():
            twin._module_names[name] = None
            own[name] = None if child is None else self.module(child, f"{path}.{name}" if path else name)
        known = {} if plainly else self._known(module, twin)
        for name, value in vars(module).items():
            if name not in _INTERNALS and name not in known:
                try:
                    own[name] = self._value(value, f"{path}.{name}" if path else name)
                except TypeError as error:
                    self.problems.append((path, module, f"its attribute {name} {error}"))

    def _known(self, module: Any, twin: Any) -> Any:
        """The attributes that a layer has of itself, whose twin has its own."""
        base = pytorchs_base(type(module))
        return {**twin.__dict__, **vars(bare(module, base.__name__, torch.nn))}

    def _parameter(self, parameter: Any) -> Any:
        return self._once(parameter, lambda value: nn.Parameter(value, parameter.requires_grad))

    def _tensor(self, tensor: Any) -> Any:
        return self._once(tensor, lambda value: value)

    def _once(self, tensor: Any, make: Callable[[Tensor], Any]) -> Any:
        if tensor is None:
            return None
        if id(tensor) not in self._twins:
            value = tensor.detach()
            self._twins[id(tensor)] = make(value.clone() if self.copy else value)
            self._alive.append(tensor)
        return self._twins[id(tensor)]

    def _value(self, value: Any, path: str) -> Any:  # noqa: PLR0911
        """An attribute that is not registered, with what is in it converted too."""
        if isinstance(value, torch.nn.Module):
            for below, m in value.named_modules(prefix=path):
                self.problems += [(below, m, why) for why in refusals(m) if id(m) not in self._twins]
            return self.module(value, path)
        if isinstance(value, torch.nn.Parameter):
            return self._parameter(value)
        if isinstance(value, Tensor):
            if value.requires_grad:
                raise TypeError("is a tensor that asks PyTorch's autograd for a gradient: make it a Parameter")
            return self._tensor(value)
        if type(value) in (list, tuple, set, frozenset) or _is_named_tuple(value):
            items = [self._value(item, f"{path}.{i}") for i, item in enumerate(value)]
            return type(value)._make(items) if _is_named_tuple(value) else type(value)(items)
        if type(value) in (dict, OrderedDict):
            return type(value)((key, self._value(item, f"{path}.{key}")) for key, item in value.items())
        if isinstance(value, MethodType) and isinstance(value.__self__, torch.nn.Module):
            return self._method(value, path)
        if isinstance(value, partial):
            arguments = [self._value(item, path) for item in value.args]
            named = {key: self._value(item, path) for key, item in value.keywords.items()}
            return partial(self._value(value.func, path), *arguments, **named)
        if isinstance(value, FunctionType):
            return self._function(value, path)
        if any(isinstance(item, (torch.nn.Module, torch.nn.Parameter)) for item in _within(value)):
            raise TypeError(f"is a {type(value).__name__} that holds a module or parameter of PyTorch's")
        return value

    def _method(self, method: MethodType, path: str) -> Any:
        owner, name = self._value(method.__self__, path), method.__name__
        if name == "forward" and isinstance(owner, nn.Primitive):  # whose own takes its call too
            return owner
        if not hasattr(type(owner), name):
            raise TypeError(f"is a method, {name}, that the converted {type(owner).__name__} has not")
        return getattr(owner, name)

    def _function(self, function: FunctionType, path: str) -> Any:
        """A function, as a lambda, with what it encloses and its defaults converted too."""
        if not _holds(function):
            return function
        if id(function) not in self._twins:
            cells = [CellType() if _holds(content(cell)) else cell for cell in function.__closure__ or ()]
            self._twins[id(function)] = twin = with_cells(function, tuple(cells))
            self._alive.append(function)
            for new, cell in zip(cells, function.__closure__ or (), strict=True):
                if new is not cell:
                    new.cell_contents = self._value(cell.cell_contents, path)
            twin.__defaults__ = self._value(function.__defaults__, path)
            twin.__kwdefaults__ = self._value(function.__kwdefaults__, path)
        return self._twins[id(function)]


def _is_named_tuple(value: Any) -> bool:
    return isinstance(value, tuple) and hasattr(value, "_fields")


def _within(value: Any) -> Iterable[Any]:
    """What an object holds, itself or as a collection."""
    if isinstance(value, (type, Tensor)):
        return
    if isinstance(value, FunctionType):
        yield from (content(cell) for cell in value.__closure__ or ())
        yield from (*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values())
    elif isinstance(value, partial):
        yield from (value.func, *value.args, *value.keywords.values())
    else:
        yield from getattr(value, "__dict__", {}).values()
        if isinstance(value, Mapping):
            yield from value.values()
        elif isinstance(value, (Sequence, Set)) and not isinstance(value, (str, bytes, bytearray, range)):
            yield from value


def _holds(value: Any) -> bool:
    """Whether a module or a parameter of PyTorch's is in it, however deep in collections and functions."""
    seen: set[int] = set()
    waiting = [value]
    while waiting:
        found = waiting.pop()
        if isinstance(found, (torch.nn.Module, torch.nn.Parameter)):
            return True
        if id(found) not in seen and isinstance(found, (FunctionType, MethodType, partial, tuple, list, dict, set)):
            seen.add(id(found))
            waiting += [found.__self__] if isinstance(found, MethodType) else _within(found)
    return False


def _registered(module: Any, twin: Any) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """The names of a twin's parameters, buffers and modules, each with what its original has of the kind."""
    return [
        (twin._parameter_names, module._parameters),
        (twin._buffer_names, module._buffers),
        (twin._module_names, module._modules),
    ]


def _overlapping(module: torch.nn.Module) -> list[tuple[str, Any, str]]:
    """Parameters that are not the same and yet share memory, which their copies would not."""
    owners = dict(module.named_modules())
    spans = []
    for name, parameter in module.named_parameters():
        if type(parameter) is torch.nn.Parameter and parameter.numel() and not parameter.is_meta:
            extent = sum((n - 1) * s for n, s in zip(parameter.shape, parameter.stride(), strict=True)) + 1
            start = parameter.data_ptr()
            spans.append((str(parameter.device), start, start + extent * parameter.element_size(), name))
    found: list[tuple[str, Any, str]] = []
    spans.sort()
    for before, after in pairwise(spans):
        if before[0] == after[0] and after[1] < before[2]:
            path, _, name = after[3].rpartition(".")
            why = (
                f"its parameter {name} is in the memory of {before[3]}, which a copy would not be: make them one "
                "Parameter, or write from_torch(module, copy=False)"
            )
            found.append((path, owners[path], why))
    return found

"""A module class of a user's, over modgrad's base classes in place of PyTorch's.

Its methods are the same functions: what they call, torch's operators and functions and sub-modules, takes Variables as
it takes tensors. Only `super()` must find the new class, so functions that use it are made again around it.
"""

from __future__ import annotations

from functools import cached_property
from types import CellType, FunctionType
from typing import Any

import torch
from torch import Tensor

from modgrad import nn
from modgrad.graph import Module, Primitive
from modgrad.graph.mode import mode
from modgrad.interop.rebinding import may_be_spent, rebinding, taken

# What a class has of its own accord, and what says how it was to be made.
_LEFT_BEHIND = {"__dict__", "__weakref__", "__init__", "__init_subclass__", "__setstate__", "__getstate__", "_abc_impl"}
_LEFT_BEHIND |= {"_load_from_state_dict"}
# What may be a layer's own and still be PyTorch's in a subclass of it.
_OF_THE_LAYER = {
    "forward",
    "backward",
    "backward_",
    "parameter_gradients",
    "parameter_gradients_",
    "passes",
    "__call__",
}


def is_pytorchs(cls: type) -> bool:
    return cls.__module__.split(".")[0] == "torch"


def pytorchs_base(cls: type) -> type:
    """The first of PyTorch's own classes that a module class is derived from; itself, if it is one."""
    base = next(base for base in cls.__mro__ if is_pytorchs(base) and issubclass(base, torch.nn.Module))
    return torch.nn.Linear if base is torch.nn.modules.linear.NonDynamicallyQuantizableLinear else base


def users_classes(cls: type) -> list[type]:
    """Those that a user wrote, itself first; with what else it is derived from that is no module."""
    return [base for base in cls.__mro__ if not is_pytorchs(base) and base is not object]


def own_attribute(cls: type, name: str) -> Any:
    """What a user's classes have under this name; None if nothing."""
    return next((vars(base)[name] for base in users_classes(cls) if name in vars(base)), None)


class Classes:
    """The classes made so far, each once, so that what was derived from what still is."""

    def __init__(self) -> None:
        self._made: dict[type, Any] = {}

    def of(self, cls: Any) -> Any:
        """The class that stands for `cls`."""
        if cls not in self._made:
            self._made[cls] = self._make(cls)
        return self._made[cls]

    def _make(self, cls: Any) -> Any:
        if not issubclass(cls, torch.nn.Module):
            return cls
        if is_pytorchs(cls):
            return getattr(nn, pytorchs_base(cls).__name__)
        base = pytorchs_base(cls)
        layer = getattr(nn, base.__name__)
        stand_ins: tuple[Any, ...]
        if issubclass(layer, Primitive) and own_attribute(cls, "forward") is not None:
            stand_ins = tuple(as_composite(layer) if b is base else self.of(b) for b in cls.__bases__)
        else:
            stand_ins = tuple(map(self.of, cls.__bases__))
        cell = CellType()
        namespace = {
            name: around(value, cls, cell, {}) for name, value in vars(cls).items() if name not in _LEFT_BEHIND
        }
        if "forward" in vars(cls):
            namespace["__call__"] = _call
        if "__init__" in vars(cls):
            namespace["__init__"] = _not_made_here
        made = type(cls)(cls.__name__, stand_ins, namespace)
        cell.cell_contents = made
        return made


def _call(self: Any, *inputs: Any, **named: Any) -> Any:
    with rebinding():
        return Module.__call__(self, *inputs, **named)


_IN_PLACE: dict[type, type] = {}


def in_place(layer: Any) -> Any:
    """`layer`, whose instances have inplace=True, as PyTorch's work: a plain tensor that is given is changed. A
    Variable that is given is spent, as nobody else may see it unchanged."""
    if layer not in _IN_PLACE:

        def __call__(self: Any, input: Any) -> Any:  # noqa: N807
            if not self.inplace:
                return layer.__call__(self, input)
            if may_be_spent(input):
                return layer.__call__(self, taken(input, type(self).__name__))
            output = layer.__call__(self, input)
            if type(input) is type(output) is Tensor and not mode.tracing:
                return output if output is input else input.copy_(output)
            return output

        _IN_PLACE[layer] = type(layer.__name__, (layer,), {"__call__": __call__, "__module__": layer.__module__})
    return _IN_PLACE[layer]


def _not_made_here(self: Any, *args: Any, **kwargs: Any) -> None:
    raise TypeError(f"{type(self).__name__} was converted from a module of PyTorch's: make that, and convert it")


def around(value: Any, cls: type, cell: CellType, done: dict[int, Any]) -> Any:
    """An attribute of a class, with `cell` in place of the cell in which its functions look for `cls`."""
    if isinstance(value, (staticmethod, classmethod)):
        value = type(value)(around(value.__func__, cls, cell, done))
    elif isinstance(value, property):
        value = property(*(around(f, cls, cell, done) for f in (value.fget, value.fset, value.fdel)))
    elif isinstance(value, cached_property):
        value = cached_property(around(value.func, cls, cell, done))
    elif isinstance(value, FunctionType) and value.__closure__:
        if id(value) not in done:
            done[id(value)] = value  # one that holds itself
            done[id(value)] = _function_around(value, cls, cell, done)
        value = done[id(value)]
    return value


def _function_around(function: FunctionType, cls: type, cell: CellType, done: dict[int, Any]) -> FunctionType:
    cells = []
    for own in function.__closure__ or ():
        held = content(own)
        if held is cls:
            cells.append(cell)
        else:
            new = around(held, cls, cell, done) if isinstance(held, FunctionType) else held
            cells.append(own if new is held else CellType(new))
    if all(a is b for a, b in zip(cells, function.__closure__ or (), strict=True)):
        return function
    return with_cells(function, tuple(cells))


def with_cells(function: FunctionType, cells: tuple[CellType, ...]) -> FunctionType:
    """The same function, enclosing what is in these cells."""
    copy = FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__, cells)
    copy.__kwdefaults__ = function.__kwdefaults__
    copy.__dict__.update(vars(function))
    for name in ("__module__", "__qualname__", "__doc__", "__annotations__"):
        setattr(copy, name, getattr(function, name))
    return copy


def content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # nothing is in it yet
        return None


_COMPOSITES: dict[type, type] = {}


def as_composite(layer: type) -> type:
    """A composite that is what the primitive `layer` is, for a class that has a forward of its own, as a subclass of
    LayerNorm that casts. `super().forward(x)` calls the primitive, on the same attributes."""
    if layer in _COMPOSITES:
        return _COMPOSITES[layer]

    def forward(self: Any, *inputs: Any, **named: Any) -> Any:
        primitive: Any = object.__new__(layer)
        object.__setattr__(primitive, "__dict__", self.__dict__)  # past the registration
        return primitive(*inputs, **named)

    namespace: dict[str, Any] = {}
    for base in reversed(layer.__mro__[: layer.__mro__.index(Primitive)]):
        namespace |= {name: value for name, value in vars(base).items() if name not in _LEFT_BEHIND | _OF_THE_LAYER}
    made = type(layer.__name__, (Module,), {**namespace, "forward": forward})
    _COMPOSITES[layer] = made
    return made

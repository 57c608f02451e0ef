"""What a forward would do, found in its code before it runs: things that look the same on Variables and are not.

Its functions are read, those that they name, and those that these name: as far as names lead, through methods, globals
and what functions enclose.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Iterator
from dis import get_instructions, hasname
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import torch

from modgrad.interop.modules.classes import content, own_attribute

_SWITCHES = (torch.no_grad, torch.inference_mode, torch.set_grad_enabled)
_NOT_READ = {*sys.stdlib_module_names, "torch", "numpy", "modgrad"}
_ASKS = {"isinstance", "issubclass", "type"}


def hazards(cls: type, instance: dict[str, Any], roots: list[str]) -> Iterator[str]:
    """Why a module of this class, with these attributes, would not do the same: for each thing found, in words."""
    waiting = [own_attribute(cls, root) for root in roots]
    waiting += [instance[root] for root in roots if root in instance]
    seen: set[int] = set()
    while waiting:
        found = waiting.pop()
        if id(found) in seen:
            continue
        seen.add(id(found))
        function = _function(found)
        if function is None:
            continue
        globals_, attributes = _names(function.__code__)
        globally = list(_reached(function, globals_, attributes))
        named = [*globally, *_enclosed(function)]
        own = [own_attribute(cls, name) for name in attributes]
        own += [instance[name] for name in attributes if name in instance]
        waiting += [value for value in (*named, *own) if _is_users(value)]
        for value in (*named, *own):
            reason = _hazard(value)
            if reason is not None:
                yield f"{_place(function)} {reason}"
        for value in globally:
            if isinstance(value, torch.nn.Module) and next(value.parameters(), None) is not None:
                yield (
                    f"{_place(function)} uses a {type(value).__name__} that is no part of the model, and stays one of "
                    "PyTorch's: make it an attribute"
                )
        modules = [value for value in named if isinstance(value, type) and issubclass(value, torch.nn.Module)]
        if modules and globals_ & _ASKS:
            yield (
                f"{_place(function)} asks whether something is a {modules[0].__name__}, which its twin is not: ask for "
                "what it has or does instead"
            )
        elif any(value in cls.__mro__ for value in modules) and ("super" in globals_ or "forward" in attributes):
            yield f"{_place(function)} calls a method of {modules[0].__name__} by the class's name: write super()"


def _function(value: Any) -> FunctionType | None:
    """The Python function in what a class or an instance has under a name."""
    if isinstance(value, (staticmethod, classmethod, MethodType)):
        value = value.__func__
    if isinstance(value, property):
        value = value.fget
    value = getattr(value, "func", value)  # cached_property, partial
    return value if isinstance(value, FunctionType) else None


def _is_users(value: Any) -> bool:
    function = _function(value)
    return function is not None and (function.__module__ or "").split(".")[0] not in _NOT_READ


def _names(code: CodeType) -> tuple[set[str], set[str]]:
    """The names of globals and those of attributes in `code`, and in the functions that it defines."""
    globals_: set[str] = set()
    attributes: set[str] = set()
    for step in get_instructions(code):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            globals_.add(step.argval)
        elif step.opcode in hasname:
            attributes.add(step.argval)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            inner = _names(constant)
            globals_ |= inner[0]
            attributes |= inner[1]
    return globals_, attributes


def _reached(function: FunctionType, globals_: set[str], attributes: set[str]) -> Iterator[Any]:
    """The globals of these names; and what is under those of the attributes in them, if they are Python modules."""
    known = function.__globals__
    found = [known.get(name, vars(builtins).get(name)) for name in globals_]
    seen: set[int] = set()
    while found:
        value = found.pop()
        if isinstance(value, ModuleType):
            if id(value) not in seen:
                seen.add(id(value))
                found += [_under(value, name) for name in attributes]
        elif value is not None:
            yield value


def _under(module: ModuleType, name: str) -> Any:
    try:
        return getattr(module, name, None)  # not vars(module), as some are there only when they are asked for
    except Exception:
        return None


def _enclosed(function: FunctionType) -> Iterator[Any]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        value = content(cell)
        if name != "__class__" and value is not None:
            yield value


def _hazard(value: Any) -> str | None:
    held = getattr(value, "__self__", value)
    if held in _SWITCHES if isinstance(held, type) else isinstance(held, _SWITCHES):
        name = held.__name__ if isinstance(held, type) else type(held).__name__
        return f"uses torch.{name}, which modgrad does not heed: write .detach() on what is to have no gradient"
    if isinstance(value, type) and issubclass(value, torch.autograd.Function):
        return f"uses {value.__name__}, whose backward would not be asked: write it as an nn.Primitive"
    if isinstance(value, (torch.jit.ScriptFunction, torch.jit.ScriptModule)):
        return "uses a scripted function, which leaves the graph: take the Python function"
    if isinstance(value, FunctionType) and hasattr(value, "_torchdynamo_orig_callable"):
        return f"uses {value.__name__}, compiled by torch.compile: take the function itself"
    if isinstance(value, FunctionType) and f"{value.__module__}.".startswith(("torch.func.", "torch._functorch.")):
        return f"uses torch.func.{value.__name__}, which leaves the graph"
    return None


def _place(function: FunctionType) -> str:
    return f"{function.__qualname__} (line {function.__code__.co_firstlineno})"

"""What operators there are, and where the formula of each stands: read off the code itself, for the documentation.

`python -m modgrad.nn.operators.listing` prints it.
"""

from __future__ import annotations

import dis
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple

from torch.overrides import resolve_name

from modgrad import functional
from modgrad.graph import Primitive
from modgrad.graph.dispatch import OPERATORS
from modgrad.nn.operators.base import Derivative

_GENERAL = Derivative.__module__  # the bases that take any formula
_PACKAGE = Path(functional.__file__).parent.parent


class Entry(NamedTuple):
    """PyTorch's functions that one operator stands in for."""

    names: tuple[str, ...]  # as PyTorch has them
    place: str  # file and function of the operator; of a primitive that is one, its class
    primitives: tuple[str, ...]  # those that it calls itself; none where it is made of other operators only
    formulas: tuple[str, ...]  # file and function of what these compute and of the derivatives


def entries() -> list[Entry]:
    """All operators, those of one replacement together, in the order of entry."""
    names: dict[int, list[str]] = {}
    replacements: dict[int, Any] = {}
    for function, replacement in OPERATORS.items():
        name = resolve_name(function) or getattr(function, "__name__", str(function))
        names.setdefault(id(replacement), []).append(name)
        replacements[id(replacement)] = replacement
    return [_entry(tuple(dict.fromkeys(names[key])), replacement) for key, replacement in replacements.items()]


def formulas_of(primitive: type[Primitive]) -> list[Callable[..., Any]]:
    """The functions of `functional` that a primitive is made of: what it computes, then its derivatives."""
    found: dict[int, Any] = {}
    bases = [base for base in primitive.__mro__[: primitive.__mro__.index(Primitive)] if base.__module__ != _GENERAL]
    for base in reversed(bases):
        for value in vars(base).values():
            member = value.__func__ if isinstance(value, staticmethod) else value
            for function in _functions(member):
                for formula in [function] if _is_formula(function) else _formulas_in(function):
                    found.setdefault(id(formula), formula)
    return list(found.values())


def _entry(names: tuple[str, ...], replacement: Any) -> Entry:
    primitives = list(dict.fromkeys(_primitives_in(replacement, set())))
    formulas = [_place(formula) for primitive in primitives for formula in formulas_of(primitive)]
    own = type(replacement) if isinstance(replacement, Primitive) else replacement
    return Entry(names, _place(own), tuple(p.__name__ for p in primitives), tuple(dict.fromkeys(formulas)))


def _place(thing: Any) -> str:
    plain = inspect.unwrap(thing)
    file = inspect.getmodule(plain).__file__  # type: ignore[union-attr]
    return f"{Path(file or '').relative_to(_PACKAGE)}: {plain.__name__}"


def _functions(member: Any) -> list[Any]:
    """A class's member; of its table of derivatives or of functions, what stands there."""
    if isinstance(member, tuple):
        return [part.function if isinstance(part, Derivative) else part for part in member]
    return [member]


def _is_formula(function: Any) -> bool:
    return isinstance(function, FunctionType) and function.__module__.startswith(functional.__name__)


def _formulas_in(function: Any, seen: tuple[Any, ...] = ()) -> Iterator[Any]:
    """The functions of `functional` that a method names, or the functions of layers that it calls."""
    if not isinstance(function, FunctionType) or function in seen:
        return
    of_room = False  # whether the name before this one was that of the room
    for instruction in dis.get_instructions(function):
        name = instruction.argval
        value = function.__globals__.get(name) if instruction.opname == "LOAD_GLOBAL" else None
        if of_room and instruction.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            value = getattr(functional, name, None)
        of_room = value is functional
        if _is_formula(value):
            yield value
        elif isinstance(value, FunctionType) and value.__module__.startswith("modgrad.nn."):
            yield from _formulas_in(value, (*seen, function))


def _primitives_in(thing: Any, seen: set[int]) -> Iterator[type[Primitive]]:
    """The primitives that a replacement names, by itself or by functions of modgrad that it calls."""
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, Primitive):
        yield type(thing)
    elif isinstance(thing, type) and issubclass(thing, Primitive) and thing is not Primitive:
        yield thing
    elif isinstance(thing, dict):
        for value in thing.values():
            yield from _primitives_in(value, seen)
    elif isinstance(thing, FunctionType) and (thing.__module__ or "").startswith("modgrad"):
        for name in _named(thing):
            yield from _primitives_in(name, seen)


def _named(function: FunctionType) -> Iterator[Any]:
    """What a function's names stand for."""
    for cell in function.__closure__ or ():
        yield cell.cell_contents
    codes = [function.__code__, *(c for c in function.__code__.co_consts if isinstance(c, CodeType))]
    names = [name for code in codes for name in code.co_names]
    for name in names:
        value = function.__globals__.get(name)
        if isinstance(value, ModuleType) and value.__name__.startswith("modgrad"):
            yield from (getattr(value, attribute, None) for attribute in names)
        elif not isinstance(value, dict):
            yield value
        else:  # a table of primitives: those that the function asks it for
            yield from (value[key] for key in function.__code__.co_consts if isinstance(key, str) and key in value)


if __name__ == "__main__":
    for entry in entries():
        print(f"{', '.join(entry.names)}\n    {entry.place}")  # noqa: T201
        for formula in entry.formulas:
            print(f"        {formula}")  # noqa: T201

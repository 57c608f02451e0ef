"""Modules that hold modules."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from modgrad.graph import Module, call_in_turn

__all__ = ["Container", "ModuleDict", "ModuleList", "Sequential"]


class Container(Module):
    """Modules under the names they are given by. Outdated, also in PyTorch: derive from Module."""

    def __init__(self, **modules: Module) -> None:
        super().__init__()
        warnings.warn("Container is outdated: derive from nn.Module instead", FutureWarning, stacklevel=2)
        for name, module in modules.items():
            self.add_module(name, module)


class _Listed(Module):
    """Modules in order, under the names "0", "1", ..."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        self.extend(modules)

    def _values(self) -> list[Any]:
        return [self.__dict__[name] for name in self._module_names]

    def _renumber(self, modules: Iterable[Module]) -> None:
        for name in list(self._module_names):
            delattr(self, name)
        for module in modules:
            self.append(module)

    def append(self, module: Module) -> Any:
        self.add_module(str(len(self)), module)
        return self

    def extend(self, modules: Iterable[Module]) -> Any:
        if not isinstance(modules, Iterable):
            raise TypeError(f"{type(self).__name__}: expected modules in a list, got {type(modules).__name__}")
        for module in list(modules):
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> Any:
        """Put `module` before the one at `index`."""
        modules = self._values()
        if not -len(modules) <= index <= len(modules):
            raise IndexError(f"insert({index}) into {len(modules)} modules")
        modules.insert(index, module)
        self._renumber(modules)
        return self

    def pop(self, key: int | slice = -1) -> Any:
        """Take out, and give, the module at an index, or those of a slice."""
        taken = self[key]
        del self[key]
        return taken

    def _name(self, index: int) -> str:
        return list(self._module_names)[index]

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return self._of(list(self._module_names)[index])
        return self._values()[index]

    def _of(self, names: list[str]) -> Any:
        """One of the same kind, of the modules that have these names."""
        return type(self)([self.__dict__[name] for name in names])

    def __setitem__(self, index: int, module: Module) -> None:
        self.add_module(self._name(index), module)

    def __delitem__(self, index: int | slice) -> None:
        modules = self._values()
        del modules[index]
        self._renumber(modules)

    def __iadd__(self, other: Iterable[Module]) -> Any:
        return self.extend(other)

    def __len__(self) -> int:
        return len(self._module_names)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values())


class Sequential(_Listed):
    """Modules called one after another. Made from modules, or from a dict of names to modules.

    A slice is a Sequential of some of them, a + b one of both, a * 3 one that has each module three times.
    """

    def __init__(self, *modules: Any) -> None:
        named = len(modules) == 1 and isinstance(modules[0], Mapping)
        super().__init__(() if named else modules)
        if named:
            for name, module in modules[0].items():
                self.add_module(name, module)

    def _of(self, names: list[str]) -> Any:
        return type(self)({name: self.__dict__[name] for name in names})

    def _refuse_other(self, other: Any) -> None:
        if not isinstance(other, Sequential):
            raise TypeError(f"a Sequential is added to a Sequential, not to {type(other).__name__}: write .append(...)")

    def __add__(self, other: Iterable[Module]) -> Sequential:
        self._refuse_other(other)
        return Sequential(*self, *other)

    def __iadd__(self, other: Iterable[Module]) -> Any:
        self._refuse_other(other)
        return self.extend(other)

    def __mul__(self, times: int) -> Sequential:
        _refuse_factor(times)
        return Sequential(*(self._values() * times))

    __rmul__ = __mul__

    def __imul__(self, times: int) -> Any:
        _refuse_factor(times)
        return self.extend(self._values() * (times - 1))

    def forward(self, input: Any) -> Any:
        own = self.__dict__
        return call_in_turn(map(own.__getitem__, self._module_names), input)


def _refuse_factor(times: Any) -> None:
    if not isinstance(times, int):
        raise TypeError(f"a Sequential times {type(times).__name__}: expected a whole number from 1 up")
    if times < 1:
        raise ValueError(f"a Sequential times {times}: expected a whole number from 1 up")


class ModuleList(_Listed):
    """A list of modules, to be called by the module that holds it."""

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__(() if modules is None else modules)

    def __add__(self, other: Iterable[Module]) -> ModuleList:
        return ModuleList([*self, *other])

    def __repr__(self) -> str:
        """Modules that look alike and follow one another are written once: (0-2): 3 x ReLU()."""
        runs: list[tuple[int, int, str]] = []  # first, last, what they look like
        for index, module in enumerate(map(repr, self)):
            if runs and runs[-1][2] == module:
                runs[-1] = runs[-1][0], index, module
            else:
                runs.append((index, index, module))
        lines = [
            f"({first}): {module}" if first == last else f"({first}-{last}): {last - first + 1} x {module}"
            for first, last, module in runs
        ]
        if not lines:
            return f"{type(self).__name__}()"
        return "\n  ".join([f"{type(self).__name__}(", *(line.replace("\n", "\n  ") for line in lines)]) + "\n)"


class ModuleDict(Module):
    """A dict of modules, to be called by the module that holds it."""

    def __init__(self, modules: Mapping[str, Module] | None = None) -> None:
        super().__init__()
        self.update({} if modules is None else modules)

    def update(self, modules: Mapping[str, Module] | ModuleDict | Iterable[tuple[str, Module]]) -> None:
        """Take in all of a dict, or of pairs of name and module."""
        for name, module in pairs_of(modules, "ModuleDict"):
            self[name] = module

    def __getitem__(self, name: str) -> Any:
        if name not in self._module_names:
            raise KeyError(f"no module {name!r}; there are {', '.join(map(repr, self._module_names)) or 'none'}")
        return self.__dict__[name]

    def __setitem__(self, name: str, module: Module) -> None:
        self.add_module(name, module)

    def __delitem__(self, name: str) -> None:
        self[name]
        delattr(self, name)

    def pop(self, name: str) -> Any:
        """Take out, and give, the module of this name."""
        module = self[name]
        del self[name]
        return module

    def clear(self) -> None:
        for name in list(self._module_names):
            del self[name]

    def __len__(self) -> int:
        return len(self._module_names)

    def __iter__(self) -> Iterator[str]:
        return iter(self._module_names)

    def __contains__(self, name: object) -> bool:
        return name in self._module_names

    def keys(self) -> Iterable[str]:
        return self._module_names.keys()

    def values(self) -> Iterable[Any]:
        return [self[name] for name in self]

    def items(self) -> Iterable[tuple[str, Any]]:
        return [(name, self[name]) for name in self]


def pairs_of(given: Any, kind: str) -> list[tuple[str, Any]]:
    """A dict's items, or pairs as they are."""
    if hasattr(given, "items"):
        return list(given.items())
    if not isinstance(given, Iterable):
        raise TypeError(f"{kind}: expected a dict, or pairs of name and value, got {type(given).__name__}")
    pairs = [tuple(pair) if isinstance(pair, Iterable) else (pair,) for pair in given]
    for pair in pairs:
        if len(pair) != 2:
            raise ValueError(f"{kind}: expected pairs of name and value, got {pair!r}")
    return pairs

"""Modules that hold modules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from modgrad.graph import Module, call_in_turn

__all__ = ["ModuleDict", "ModuleList", "Sequential"]


class _Listed(Module):
    """Modules in order, under the names "0", "1", ..."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        for module in modules:
            self.append(module)

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
        for module in list(modules):
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> Any:
        modules = self._values()
        modules.insert(index, module)
        self._renumber(modules)
        return self

    def pop(self, index: int = -1) -> Module:
        modules = self._values()
        module: Module = modules.pop(index)
        self._renumber(modules)
        return module

    def _name(self, index: int) -> str:
        return list(self._module_names)[index]

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return type(self)._of(self._values()[index])
        return self._values()[index]

    @classmethod
    def _of(cls, modules: list[Module]) -> Any:
        return cls(modules)

    def __setitem__(self, index: int, module: Module) -> None:
        self.add_module(self._name(index), module)

    def __delitem__(self, index: int | slice) -> None:
        modules = self._values()
        del modules[index]
        self._renumber(modules)

    def __len__(self) -> int:
        return len(self._module_names)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values())


class Sequential(_Listed):
    """Modules called one after another. Made from modules, or from a dict of names to modules."""

    def __init__(self, *modules: Any) -> None:
        named = len(modules) == 1 and isinstance(modules[0], Mapping)
        super().__init__(() if named else modules)
        if named:
            for name, module in modules[0].items():
                self.add_module(name, module)

    @classmethod
    def _of(cls, modules: list[Module]) -> Any:
        return cls(*modules)

    def forward(self, input: Any) -> Any:
        own = self.__dict__
        return call_in_turn(map(own.__getitem__, self._module_names), input)


class ModuleList(_Listed):
    """A list of modules, to be called by the module that holds it."""

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__(modules or ())

    def __add__(self, other: Iterable[Module]) -> ModuleList:
        return ModuleList([*self, *other])


class ModuleDict(Module):
    """A dict of modules, to be called by the module that holds it."""

    def __init__(self, modules: Mapping[str, Module] | None = None) -> None:
        super().__init__()
        self.update(modules or {})

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        for name, module in dict(modules).items():
            self[name] = module

    def __getitem__(self, name: str) -> Any:
        if name not in self._module_names:
            raise KeyError(f"no module {name!r}; there are {', '.join(map(repr, self._module_names)) or 'none'}")
        return self.__dict__[name]

    def __setitem__(self, name: str, module: Module) -> None:
        self.add_module(name, module)

    def __delitem__(self, name: str) -> None:
        delattr(self, name)

    def pop(self, name: str) -> Any:
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

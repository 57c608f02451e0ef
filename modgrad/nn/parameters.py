"""Lists and dicts of parameters, to be used by the module that holds them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor

from modgrad.graph import Module, Parameter
from modgrad.nn.container import pairs_of

__all__ = ["ParameterDict", "ParameterList"]


def _entered(value: Any) -> Any:
    """A tensor as a Parameter; anything else as it is."""
    return Parameter(value) if isinstance(value, Tensor) and not isinstance(value, Parameter) else value


def _line(name: Any, value: Any, kind: str) -> str:
    """An entry, as `repr` shows it."""
    if not isinstance(value, Tensor):
        return f"  ({name}): Object of type: {type(value).__name__}"
    size = "x".join(str(n) for n in value.shape)
    place = f" ({value.device})" if value.device.type == "cuda" else ""
    return f"  ({name}): Parameter containing: [{kind} of size {size}{place}]"


def _kind(value: Any) -> str:
    """A tensor's dtype and place as one old name, as torch.FloatTensor."""
    return value.data.type() if isinstance(value, Tensor) else ""


class ParameterList(Module):
    """A list of parameters, registered under "0", "1", ... A tensor becomes a Parameter; other objects may be in it.

    >>> import torch
    >>> from modgrad import nn
    >>> weights = nn.ParameterList([torch.ones(2, 3), torch.ones(3)])
    >>> [name for name, _ in weights.named_parameters()], len(weights)
    (['0', '1'], 2)
    """

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        super().__init__()
        self._size = 0
        self.extend(() if values is None else values)

    def _name(self, index: int) -> str:
        if not -self._size <= index < self._size:
            raise IndexError(f"index {index} of a ParameterList of {self._size}")
        return str(index % self._size)

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return type(self)(list(self)[index])
        return self.__dict__[self._name(index)]

    def __setitem__(self, index: int, value: Any) -> None:
        setattr(self, self._name(index), _entered(value))

    def append(self, value: Any) -> ParameterList:
        self._size += 1
        self[self._size - 1] = value
        return self

    def extend(self, values: Iterable[Any]) -> ParameterList:
        if not isinstance(values, Iterable) or isinstance(values, Tensor):
            raise TypeError(f"ParameterList: expected parameters in a list, got {type(values).__name__}")
        for value in values:
            self.append(value)
        return self

    def __iadd__(self, values: Iterable[Any]) -> ParameterList:
        return self.extend(values)

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Any]:
        return iter([self.__dict__[str(index)] for index in range(self._size)])

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        raise RuntimeError("a ParameterList is not called: use its parameters in the forward of the module that has it")

    def extra_repr(self) -> str:
        return "\n".join(_line(i, value, str(getattr(value, "dtype", ""))) for i, value in enumerate(self))


class ParameterDict(Module):
    """A dict of parameters, registered under their names. A tensor becomes a Parameter; other objects may be in it.

    From a plain dict it takes names in sorted order, as PyTorch's does; from an OrderedDict, a ParameterDict or pairs
    in theirs.

    >>> import torch
    >>> from modgrad import nn
    >>> weights = nn.ParameterDict({"right": torch.ones(3), "left": torch.ones(2)})
    >>> list(weights.state_dict()), weights["left"].shape
    (['left', 'right'], torch.Size([2]))
    """

    def __init__(self, parameters: Any = None) -> None:
        super().__init__()
        self._keys: dict[str, None] = {}
        self.update({} if parameters is None else parameters)

    def update(self, parameters: Any) -> None:
        """Take in all of a dict, or of pairs of name and value."""
        pairs = pairs_of(parameters, "ParameterDict")
        if isinstance(parameters, Mapping) and not isinstance(parameters, OrderedDict):
            pairs.sort(key=lambda pair: pair[0])
        for name, value in pairs:
            self[name] = value

    def __getitem__(self, name: str) -> Any:
        if name not in self._keys:
            raise KeyError(f"no parameter {name!r}; there are {', '.join(map(repr, self._keys)) or 'none'}")
        return self.__dict__[name]

    def __setitem__(self, name: str, value: Any) -> None:
        if not isinstance(name, str):
            raise TypeError(f"ParameterDict: expected a name, got {type(name).__name__} {name!r}")
        if name not in self._keys and hasattr(self, name):
            raise KeyError(f"ParameterDict has an attribute {name!r} already: choose another name")
        setattr(self, name, _entered(value))
        self._keys[name] = None

    def __delitem__(self, name: str) -> None:
        self[name]
        del self._keys[name]
        delattr(self, name)

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __reversed__(self) -> Iterator[str]:
        return reversed(self._keys)

    def __contains__(self, name: object) -> bool:
        return name in self._keys

    def keys(self) -> Iterable[str]:
        return self._keys.keys()

    def values(self) -> Iterable[Any]:
        return [self[name] for name in self]

    def items(self) -> Iterable[tuple[str, Any]]:
        return [(name, self[name]) for name in self]

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self._keys else default

    def setdefault(self, name: str, default: Any = None) -> Any:
        """What is there under the name; `default` is put there if nothing is."""
        if name not in self:
            self[name] = default
        return self[name]

    def pop(self, name: str) -> Any:
        """Take out, and give, the parameter of this name."""
        value = self[name]
        del self[name]
        return value

    def popitem(self) -> tuple[str, Any]:
        """Take out, and give, the last name and parameter."""
        name = next(reversed(self))
        return name, self.pop(name)

    def clear(self) -> None:
        for name in list(self):
            del self[name]

    def copy(self) -> ParameterDict:
        """Another dict of the same parameters."""
        return ParameterDict(OrderedDict(self.items()))

    def fromkeys(self, names: Iterable[str], default: Any = None) -> ParameterDict:
        return ParameterDict([(name, default) for name in names])

    def __or__(self, other: Any) -> ParameterDict:
        both = self.copy()
        both.update(other)
        return both

    def __ror__(self, other: Any) -> ParameterDict:
        both = ParameterDict(other)
        both.update(self)
        return both

    def __ior__(self, other: Any) -> Any:
        self.update(other)
        return self

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        raise RuntimeError("a ParameterDict is not called: use its parameters in the forward of the module that has it")

    def extra_repr(self) -> str:
        return "\n".join(_line(name, value, _kind(value)) for name, value in self.items())

"""Classes of a user's own, converted: bases, cells, descriptors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial, wraps
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import pytest
import torch
from torch import Tensor

from modgrad import interop, nn
from tests.interop import theirs
from tests.interop.compared import N, assert_same_model, row, tokens


def test_methods_attributes_and_classes() -> None:
    twin = theirs.GPT(flash=True).double().eval()
    mine = interop.from_torch(twin)
    assert type(mine).__name__ == "GPT"
    assert type(mine).__module__ == theirs.__name__
    assert mine.get_num_params() == twin.get_num_params()
    start = torch.tensor([[3, 1]])
    with nn.no_grad():
        assert torch.equal(mine.generate(start, 4), twin.generate(start, 4))
    tagger = interop.from_torch(theirs.Tagger())
    assert isinstance(tagger, theirs.Counter)
    assert not isinstance(tagger, N.Module)
    tagger(tokens())
    assert (tagger.calls, tagger.temperature) == (1, 2.0)
    dense = interop.from_torch(theirs.DenseNet())
    assert isinstance(dense.block, nn.ModuleDict)
    assert type(dense.block["layer0"]) is type(dense.block["layer1"])
    assert dense.block["layer0"].out_channels == 2
    with pytest.raises(TypeError, match="GPT was converted from a module of PyTorch's: make that, and convert it"):
        type(mine)(flash=True)


T = TypeVar("T")


class Scaled(N.Module, Generic[T]):
    """Bases, cells and descriptors of every kind."""

    scales: ClassVar[list[float]] = [2.0]

    def __init__(self) -> None:
        super().__init__()
        self.weight = N.Parameter(torch.randn(3, 3))

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("ni,oi->no", x, self.weight) * self.scale

    @property
    def scale(self) -> float:
        return self.scales[0]

    @scale.setter
    def scale(self, value: float) -> None:
        self.scales[0] = value


def doubled(function: Any) -> Any:
    @wraps(function)
    def run(*args: Any) -> Any:
        return 2 * function(*args)

    return run


class Deep(Scaled[int], ABC):
    @doubled
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self.offset

    @cached_property
    def offset(self) -> float:
        return super().scale + 1

    @classmethod
    def named(cls) -> str:
        return cls.__name__

    @abstractmethod
    def nothing(self) -> None: ...


@dataclass(eq=False)
class Deeper(Deep):
    power: int = 2

    def __post_init__(self) -> None:
        Deep.__init__(self)

    def nothing(self) -> None:
        return None

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) ** self.power + self.helper(x)

    def helper(self, x: Tensor) -> Any:
        def inner(y: Any) -> Any:
            return __class__.named() and y  # type: ignore[name-defined]

        return inner(x)


def test_classes_of_every_kind() -> None:
    twin = Deeper(3).double()
    mine = interop.from_torch(twin)
    assert_same_model(twin, mine, row(2, 3))
    assert type(mine).named() == "Deeper"
    assert [base.__name__ for base in type(mine).__mro__[:3]] == ["Deeper", "Deep", "Scaled"]
    mine.scale = 3.0
    assert Scaled.scales == [3.0]


class Layers(NamedTuple):
    first: Any
    second: Any


class Holding(N.Module):
    """Holds other modules elsewhere than among its children; `use` says how they are called."""

    def __init__(self, held: Any, use: Callable[[Any, Any], Any] = lambda held, x: held(x)) -> None:
        super().__init__()
        self.body, self.held, self.use = N.Linear(3, 3), held, use

    def forward(self, x: Tensor) -> Any:
        return self.body(x) + self.use(self.held, self.body(x))


def in_a_list(layer: Any) -> Any:
    layers = [layer]
    return lambda x: layers[0](x)


def recursive(layer: Any) -> Any:
    def again(x: Any, times: int = 2) -> Any:
        return again(layer(x), times - 1) if times else x

    return again


@pytest.mark.parametrize(
    ("hold", "use"),
    [
        (lambda layer: [layer, {"a": (layer,)}], lambda held, x: held[1]["a"][0](held[0](x))),
        (lambda layer: Layers(layer, N.Tanh()), lambda held, x: held.second(held.first(x))),
        (lambda layer: partial(layer), lambda held, x: held(x)),
        (lambda layer: lambda x: layer(x), lambda held, x: held(x)),
        (in_a_list, lambda held, x: held(x)),
        (lambda layer: lambda x, own=layer: own(x), lambda held, x: held(x)),
        (lambda layer: lambda x, *, own=layer: own(x), lambda held, x: held(x)),
        (lambda layer: layer.forward, lambda held, x: held(x)),
        (recursive, lambda held, x: held(x)),
    ],
)
def test_modules_that_are_held_elsewhere(hold: Any, use: Any) -> None:
    """They are converted with the rest, each once."""
    layer = N.Linear(3, 3)
    twin = Holding(hold(layer), use)
    twin.layer = layer
    twin.double()
    mine = interop.from_torch(twin)
    assert_same_model(twin, mine, row(2, 3))
    assert mine.layer.weight.grad_v.any()

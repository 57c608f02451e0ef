"""Containers of modules and of parameters do what PyTorch's do."""

from __future__ import annotations

import copy
import pickle
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import torch

from modgrad import nn


def layers(n: Any, *sizes: int) -> list[Any]:
    return [n.Linear(size, size) for size in sizes]


def named(n: Any) -> Any:
    return n.Sequential(OrderedDict(zip("abc", layers(n, 1, 2, 3), strict=True)))


def changed(container: Any, *changes: Callable[[Any], Any]) -> Any:
    for change in changes:
        change(container)
    return container


# Each makes the same of both libraries.
SAME: list[Callable[[Any], Any]] = [
    lambda n: n.Sequential(*layers(n, 1, 2)) + n.Sequential(*layers(n, 3)),
    lambda n: n.Sequential(*layers(n, 1, 2)) * 2,
    lambda n: 2 * n.Sequential(*layers(n, 1, 2)),
    lambda n: changed(n.Sequential(*layers(n, 1, 2)), lambda c: c.__iadd__(n.Sequential(*layers(n, 3)))),
    lambda n: changed(n.Sequential(*layers(n, 1, 2)), lambda c: c.__imul__(3)),
    lambda n: changed(n.Sequential(*layers(n, 1, 2)), lambda c: c.insert(1, n.Linear(3, 3))),
    lambda n: changed(n.Sequential(*layers(n, 1, 2)), lambda c: c.insert(-1, n.Linear(3, 3))),
    lambda n: changed(n.Sequential(*layers(n, 1, 2)), lambda c: c.extend(layers(n, 3, 4)).append(n.Linear(5, 5))),
    lambda n: changed(n.Sequential(*layers(n, 1, 2, 3)), lambda c: c.pop(1)),
    lambda n: changed(n.Sequential(*layers(n, 1, 2, 3)), lambda c: c.pop(slice(1, 3))),
    lambda n: changed(n.Sequential(*layers(n, 1, 2, 3)), lambda c: c.__setitem__(-1, n.Linear(4, 4))),
    lambda n: n.Sequential(*layers(n, 1, 2, 3))[1:],
    lambda n: named(n)[:2],
    lambda n: changed(named(n), lambda c: c.__delitem__(0)),
    lambda n: changed(named(n), lambda c: c.__delitem__(slice(1, None))),
    lambda n: changed(n.ModuleList(layers(n, 1, 2)), lambda c: c.__iadd__(layers(n, 3))),
    lambda n: n.ModuleList(layers(n, 1, 2)) + layers(n, 3),
    lambda n: n.ModuleList(layers(n, 1, 2, 3))[::2],
    lambda n: changed(n.ModuleList(layers(n, 1, 2, 3)), lambda c: c.pop(0), lambda c: c.insert(1, n.Linear(4, 4))),
    lambda n: n.ModuleList([*layers(n, 2, 2, 2, 3), n.Sequential(*layers(n, 1)), n.Sequential(*layers(n, 1))]),
    lambda n: n.ModuleList(),
    lambda n: n.ModuleDict({"b": n.Linear(1, 1), "a": n.Linear(2, 2)}),
    lambda n: n.ModuleDict([("b", n.Linear(1, 1)), ["a", n.Linear(2, 2)]]),
    lambda n: changed(n.ModuleDict({"b": n.Linear(1, 1)}), lambda c: c.update(n.ModuleDict({"a": n.Linear(2, 2)}))),
    lambda n: changed(n.ModuleDict({"b": n.Linear(1, 1), "a": n.Linear(2, 2)}), lambda c: c.pop("b")),
    lambda n: changed(n.ModuleDict({"b": n.Linear(1, 1)}), lambda c: c.clear()),
    lambda n: n.ParameterList([torch.ones(2, 3), n.Parameter(torch.ones(1)), "a word"]),
    lambda n: n.ParameterList(torch.ones(1) for _ in range(5))[1::2],
    lambda n: changed(n.ParameterList([torch.ones(1)]), lambda c: c.append(torch.ones(2)).extend([torch.ones(3)])),
    lambda n: changed(n.ParameterList([torch.ones(1)]), lambda c: c.__setitem__(-1, torch.ones(2))),
    lambda n: n.ParameterList(),
    lambda n: n.ParameterDict({"b": torch.ones(2, 3), "a": n.Parameter(torch.ones(1).double()), "c": 3}),
    lambda n: n.ParameterDict({"b": torch.ones(2, 3)}),
    lambda n: n.ParameterDict([("b", torch.ones(2)), ("a", torch.ones(1))]),
    lambda n: n.ParameterDict(OrderedDict(b=torch.ones(2), a=torch.ones(1))),
    lambda n: n.ParameterDict({"b": torch.ones(2)}) | n.ParameterDict({"a": torch.ones(1)}),
    lambda n: n.ParameterDict({"b": torch.ones(2)}).__ror__(n.ParameterDict({"a": torch.ones(1)})),
    lambda n: changed(n.ParameterDict({"b": torch.ones(2)}), lambda c: c.__ior__({"a": torch.ones(1)})),
    lambda n: changed(n.ParameterDict({"b": torch.ones(2), "a": torch.ones(1)}), lambda c: c.popitem()),
    lambda n: changed(n.ParameterDict({"b": torch.ones(2), "a": torch.ones(1)}), lambda c: c.pop("a")),
    lambda n: changed(n.ParameterDict({"b": torch.ones(2)}), lambda c: c.setdefault("a", torch.ones(1))),
    lambda n: n.ParameterDict({"b": torch.ones(2)}).copy(),
    lambda n: n.ParameterDict().fromkeys(["x", "y"], torch.ones(1)),
    lambda n: changed(n.ParameterDict({"b": torch.ones(2)}), lambda c: c.clear()),
    lambda n: n.Sequential(n.ParameterList([torch.ones(1), torch.ones(2)])),
]


@pytest.mark.parametrize("make", SAME, ids=range(len(SAME)))
def test_as_pytorchs(make: Callable[[Any], Any]) -> None:
    mine, theirs = make(nn), make(torch.nn)
    assert repr(mine) == repr(theirs)
    assert [(name, tuple(p.shape)) for name, p in mine.named_parameters(remove_duplicate=False)] == [
        (name, tuple(p.shape)) for name, p in theirs.named_parameters(remove_duplicate=False)
    ]
    assert list(mine.state_dict()) == list(theirs.state_dict())
    assert len(mine) == len(theirs)
    if hasattr(mine, "keys"):
        assert list(mine.keys()) == list(theirs.keys()) == list(mine) == [name for name, _ in mine.items()]
        assert len(list(mine.values())) == len(mine)
    else:
        assert len(list(mine)) == len(mine)
    for twin in (copy.deepcopy(mine), pickle.loads(pickle.dumps(mine))):
        assert repr(twin) == repr(mine)
        assert list(twin.state_dict()) == list(mine.state_dict())


def test_parameters_are_trained_through_a_list_and_a_dict() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = nn.ParameterList([torch.ones(2, 2), torch.full((2, 2), 2.0)])
            self.shifts = nn.ParameterDict({"a": torch.zeros(2)})

        def forward(self, x: Any) -> Any:
            for weight in self.weights:
                x = x @ weight + self.shifts["a"]
            return x

    net = Net()
    net(torch.ones(1, 2)).sum().backward()
    assert all(parameter.grad_v is not None for parameter in net.parameters())
    assert "a" in net.shifts
    assert net.shifts.get("b") is None
    assert list(reversed(net.shifts)) == ["a"]
    assert isinstance(net.weights[-1], nn.Parameter)


def test_what_is_refused() -> None:
    several = nn.Sequential(nn.Linear(1, 1))
    for change in (lambda: several.__add__([nn.Linear(1, 1)]), lambda: several * 1.5, lambda: nn.ModuleList(3)):
        with pytest.raises(TypeError, match="expected|added"):
            change()
    with pytest.raises(ValueError, match="from 1 up"):
        several * 0
    with pytest.raises(IndexError, match=r"insert\(3\)"):
        several.insert(3, nn.Linear(1, 1))
    with pytest.raises(KeyError, match="no module 'b'"):
        nn.ModuleDict().pop("b")
    for wrong in (nn.ModuleDict, nn.ParameterDict):
        with pytest.raises(TypeError, match="expected a dict"):
            wrong(3)
        with pytest.raises(ValueError, match="pairs of name and value"):
            wrong([("a",)])
    with pytest.raises(IndexError, match="of a ParameterList of 0"):
        nn.ParameterList()[0]
    with pytest.raises(TypeError, match="parameters in a list"):
        nn.ParameterList(torch.ones(2))
    with pytest.raises(KeyError, match="no parameter 'b'"):
        nn.ParameterDict()["b"]
    with pytest.raises(KeyError, match="has an attribute 'keys'"):
        nn.ParameterDict({"keys": torch.ones(1)})
    with pytest.raises(TypeError, match="expected a name"):
        nn.ParameterDict({1: torch.ones(1)})
    for container in (nn.ParameterList(), nn.ParameterDict()):
        with pytest.raises(RuntimeError, match="is not called"):
            container(1)
    with pytest.warns(FutureWarning, match="derive from nn.Module"):
        assert list(nn.Container(a=nn.Linear(1, 1)).state_dict()) == ["a.weight", "a.bias"]


@pytest.mark.parametrize(
    ("dim", "sizes", "shape"),
    [(1, (2, 3), (4, 6)), (-1, [3, -1], (2, 6)), (0, torch.Size([1, 2]), (2,)), (1, (2, 0), (3, 0, 2))],
)
def test_unflatten(dim: int, sizes: Any, shape: tuple[int, ...]) -> None:
    mine, theirs = nn.Unflatten(dim, sizes), torch.nn.Unflatten(dim, sizes)
    assert repr(mine) == repr(theirs)
    x = nn.Variable(torch.randn(shape))
    y, twin = mine(x), theirs(x.detach())
    assert torch.equal(y.detach(), twin)
    y.backward(torch.ones_like(twin))
    assert torch.equal(x.grad_v, torch.ones(shape))


def test_unflatten_that_does_not_fit() -> None:
    for sizes in [(2, 2), (4, -1), (-1, -1), ()]:
        with pytest.raises(ValueError, match="cannot be written as"):
            nn.Unflatten(1, sizes)(torch.ones(2, 6))
    with pytest.raises(IndexError, match="no dimension 2"):
        nn.Unflatten(2, (2, 3))(torch.ones(2, 6))
    for arguments in [("width", (2, 3)), (1, 6), (1, (2.0, 3))]:
        with pytest.raises(TypeError, match="Unflatten"):
            nn.Unflatten(*arguments)

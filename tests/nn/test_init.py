"""Initial values are PyTorch's for the same seed, to the last bit."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from torch import Tensor

from modgrad import nn

twin = torch.nn.init
NAMES = [name for name in dir(twin) if name.endswith("_") and not name.startswith("_")]

CASES: list[tuple[str, tuple[int, ...], dict[str, Any]]] = [
    ("uniform_", (3, 4), {"a": -1.0, "b": 2.0}),
    ("normal_", (3, 4), {"mean": 1.0, "std": 3.0}),
    ("trunc_normal_", (30, 40), {}),
    ("trunc_normal_", (30, 40), {"mean": 0.5, "std": 2.0, "a": -1.0, "b": 1.5}),
    ("trunc_normal_", (30, 40), {"a": 1.5, "b": 4.0}),
    ("trunc_normal_", (5, 5), {"a": 1.9, "b": 1.95}),
    ("constant_", (3, 4), {"val": 0.3}),
    ("ones_", (3, 4), {}),
    ("zeros_", (3, 4), {}),
    ("eye_", (3, 4), {}),
    ("dirac_", (4, 2, 3), {}),
    ("dirac_", (4, 2, 3, 2), {"groups": 2}),
    ("dirac_", (2, 4, 3, 2, 1), {}),
    ("xavier_uniform_", (3, 4), {}),
    ("xavier_uniform_", (3, 4, 5, 5), {"gain": 2.0}),
    ("xavier_normal_", (3, 4, 5), {"gain": 0.5}),
    ("kaiming_uniform_", (3, 4), {}),
    ("kaiming_uniform_", (3, 4, 2), {"a": 0.3, "mode": "fan_out"}),
    ("kaiming_normal_", (3, 4, 2, 2), {"mode": "fan_out", "nonlinearity": "relu"}),
    ("orthogonal_", (3, 4), {}),
    ("orthogonal_", (5, 3), {"gain": 2.0}),
    ("orthogonal_", (4, 2, 3), {}),
    ("sparse_", (10, 3), {"sparsity": 0.35, "std": 0.1}),
]


@pytest.mark.parametrize("generator", [False, True], ids=["torch's", "own"])
@pytest.mark.parametrize(("name", "shape", "options"), CASES, ids=[f"{name}-{i}" for i, (name, *_) in enumerate(CASES)])
def test_values(name: str, shape: tuple[int, ...], options: dict[str, Any], generator: bool) -> None:
    mine, theirs = nn.Parameter(torch.empty(shape)), torch.empty(shape)
    takes = "generator" in inspect.signature(getattr(twin, name)).parameters
    given = [torch.Generator().manual_seed(5) for _ in range(2)] if generator and takes else [None, None]
    others = [{"generator": g} if g is not None else {} for g in given]
    torch.manual_seed(3)
    assert getattr(nn.init, name)(mine, **options, **others[0]) is mine
    torch.manual_seed(3)
    getattr(twin, name)(theirs, **options, **others[1])
    assert torch.equal(mine.detach(), theirs)


def test_all_are_here_with_their_arguments() -> None:
    assert {name for name, *_ in CASES} == set(NAMES)
    for name in [*NAMES, "calculate_gain"]:
        mine, theirs = (inspect.signature(getattr(room, name)).parameters for room in (nn.init, twin))
        assert [(p.name, p.default) for p in mine.values()] == [(p.name, p.default) for p in theirs.values()], name


@pytest.mark.parametrize(
    "name", ["linear", "conv2d", "conv_transpose3d", "sigmoid", "tanh", "relu", "leaky_relu", "selu"]
)
def test_gain(name: str) -> None:
    assert nn.init.calculate_gain(name) == twin.calculate_gain(name)


def test_gain_of_a_slope_and_of_nothing_known() -> None:
    assert nn.init.calculate_gain("leaky_relu", 0.3) == twin.calculate_gain("leaky_relu", 0.3)
    with pytest.raises(ValueError, match="the negative slope"):
        nn.init.calculate_gain("leaky_relu", True)
    with pytest.raises(ValueError, match="expected one of linear"):
        nn.init.calculate_gain("reul")


WRONG: list[tuple[str, tuple[int, ...], dict[str, Any], str]] = [
    ("eye_", (3,), {}, "expected a matrix"),
    ("sparse_", (3,), {"sparsity": 0.1}, "expected a matrix"),
    ("dirac_", (3, 3), {}, "the weight of a convolution"),
    ("dirac_", (3, 3, 3), {"groups": 2}, "cannot be divided"),
    ("orthogonal_", (3,), {}, "2 dimensions or more"),
    ("xavier_uniform_", (3,), {}, "a weight"),
    ("kaiming_normal_", (3, 3), {"mode": "fan"}, '"fan_in" or "fan_out"'),
]


@pytest.mark.parametrize(("name", "shape", "options", "words"), WRONG, ids=[row[0] for row in WRONG])
def test_errors(name: str, shape: tuple[int, ...], options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        getattr(nn.init, name)(torch.empty(shape), **options)


def test_warnings() -> None:
    with pytest.warns(UserWarning, match="does nothing"):
        nn.init.kaiming_uniform_(torch.empty(0, 3))
    with pytest.warns(UserWarning, match="may be incorrect"):
        nn.init.trunc_normal_(torch.empty(4), mean=9.0, a=4.0, b=6.0)


def test_no_gradient_is_recorded() -> None:
    parameter = nn.Parameter(torch.zeros(3, 4))
    before: Tensor = parameter.data
    nn.init.xavier_normal_(parameter)
    assert parameter.data.data_ptr() == before.data_ptr()
    assert parameter.grad_v is None

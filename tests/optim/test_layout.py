"""Values in memory in another order than that of their dimensions: the update is of the values, not of the memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from modgrad import nn, optim
from modgrad.step import TrainingStep

OPTIMIZERS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {}),
    ("SGD", {"momentum": 0.9}),
    ("Adam", {}),
    ("Adam", {"amsgrad": True}),
    ("AdamW", {}),
    ("Adagrad", {}),
    ("RMSprop", {"momentum": 0.9}),
    ("Adadelta", {}),
    ("Rprop", {}),
    ("Lion", {}),
]
every = pytest.mark.parametrize(("name", "options"), OPTIMIZERS, ids=[f"{n}-{o}" for n, o in OPTIMIZERS])


def plain(x: Tensor) -> Tensor:
    return x.contiguous()


def turned(x: Tensor) -> Tensor:
    return x.t().contiguous().t()


def with_gaps(x: Tensor) -> Tensor:
    wide = torch.full((*x.shape, 2), 7.0, dtype=x.dtype)
    wide[..., 0] = x
    return wide[..., 0]


def trained(name: str, options: dict[str, Any], lay: list[Callable[[Tensor], Tensor]], steps: int = 4) -> Tensor:
    """The parameter after some steps; parameter, gradients and state are laid in memory by `lay`."""
    generator = torch.Generator().manual_seed(4)
    of_param, of_grad, of_state = lay
    param = nn.Parameter(of_param(torch.randn(3, 5, dtype=torch.float64, generator=generator)))
    optimizer = getattr(optim, name)([param], lr=0.1, **options)
    for _ in range(steps):
        param.grad_v = of_grad(torch.randn(3, 5, dtype=torch.float64, generator=generator))
        optimizer.step()
        for key, value in optimizer.state[param].items():
            if isinstance(value, Tensor) and value.dim() == 2:
                optimizer.state[param][key] = of_state(value)
    return param.data


LAID = [
    [turned, plain, plain],
    [turned, turned, plain],
    [turned, turned, turned],
    [plain, turned, plain],
    [plain, plain, turned],
    [plain, plain, with_gaps],
    [with_gaps, plain, plain],
    [with_gaps, turned, plain],
    [plain, with_gaps, plain],
]


@every
@pytest.mark.parametrize("lay", LAID, ids=lambda lay: "-".join(f.__name__ for f in lay))
def test_the_same_update(name: str, options: dict[str, Any], lay: list[Callable[[Tensor], Tensor]]) -> None:
    expected = trained(name, options, [plain] * 3)
    torch.testing.assert_close(trained(name, options, lay), expected, rtol=1e-12, atol=1e-13)


def test_what_lies_between_the_values_of_a_parameter_stays() -> None:
    param = nn.Parameter(with_gaps(torch.ones(2, 3)))
    wide = param.data._base
    param.grad_v = torch.ones(2, 3)
    optim.Adam([param], lr=0.1).step()
    torch.testing.assert_close(param.data, torch.full((2, 3), 0.9))
    storage = torch.tensor([]).set_(param.data.untyped_storage())
    assert storage[1::2].eq(7).all()
    assert wide is None


@pytest.mark.parametrize("fuse_update", [False, True])
def test_a_model_that_changes_its_layout_while_it_is_trained(fuse_update: bool) -> None:
    def train(formats: list[torch.memory_format]) -> list[Tensor]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(2, 3, 2), nn.Flatten(), nn.Linear(12, 2)).double()
        step = TrainingStep(
            model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=0.1), fuse_update=fuse_update
        )
        x, y = torch.randn(4, 2, 3, 3, dtype=torch.float64), torch.tensor([0, 1, 1, 0])
        for memory_format in formats:
            model.to(memory_format=memory_format)
            assert model[0].weight.is_contiguous(memory_format=memory_format)
            for _ in range(2):
                step(x, y)
        return [p.data.clone() for p in model.parameters()]

    usual, last = torch.contiguous_format, torch.channels_last
    for mine, expected in zip(train([usual, last, usual]), train([usual] * 3), strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-10, atol=1e-12)

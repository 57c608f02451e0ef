"""Averaged models against PyTorch's. (SWALR is among the schedules.)"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from modgrad import nn, optim
from modgrad.optim import swa_utils as here
from tests.optim.models import train

there: Any = torch.optim.swa_utils
EXACT = {"rtol": 1e-12, "atol": 1e-14}
NEAR = {"rtol": 1e-7, "atol": 1e-8}  # PyTorch's mean of many has its share, 1 / (n + 1), in single precision


def nets() -> tuple[nn.Module, torch.nn.Module]:
    twin = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 3), torch.nn.BatchNorm2d(3), torch.nn.Flatten()).double()
    mine = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten()).double()
    mine.load_state_dict(twin.state_dict())
    return mine, twin


def images(seed: int) -> torch.Tensor:
    return torch.randn(4, 1, 5, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


WAYS: list[tuple[str, Any]] = [
    ("mean", lambda utils: {}),
    ("mean, with buffers", lambda utils: {"use_buffers": True}),
    ("exponential", lambda utils: {"multi_avg_fn": utils.get_ema_multi_avg_fn(0.9)}),
    ("exponential, buffers", lambda utils: {"multi_avg_fn": utils.get_ema_multi_avg_fn(0.9), "use_buffers": True}),
    ("exponential, one by one", lambda utils: {"avg_fn": utils.get_ema_avg_fn(0.9)}),
    ("mean, one by one", lambda utils: {"avg_fn": utils.get_swa_avg_fn(), "use_buffers": True}),
    ("mean of many", lambda utils: {"multi_avg_fn": utils.get_swa_multi_avg_fn()}),
    ("own", lambda utils: {"avg_fn": lambda a, p, n: torch.maximum(a, p) + 0 * n}),
]


@pytest.mark.parametrize("options", [way for _, way in WAYS], ids=[name for name, _ in WAYS])
def test_same_averages_as_pytorch(options: Any) -> None:
    mine, twin = nets()
    averages = here.AveragedModel(mine, **options(here)), there.AveragedModel(twin, **options(there))
    for step in range(6):
        for model, average in zip((mine, twin), averages, strict=True):
            model(images(step))
            for i, param in enumerate(model.parameters()):
                param.data.mul_(0.9).add_(0.1 * i)
            average.update_parameters(model)
    assert list(averages[0].state_dict()) == list(averages[1].state_dict())
    for (name, a), b in zip(averages[0].state_dict().items(), averages[1].state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, **NEAR, msg=lambda m, n=name: f"{n}: {m}")
    mine.eval(), twin.eval()
    torch.testing.assert_close(averages[0](images(9)).detach(), averages[1](images(9)).detach(), **NEAR)
    again, _ = nets()
    loaded = here.AveragedModel(again)
    loaded.load_state_dict(averages[1].state_dict())
    assert loaded.n_averaged == 6


def test_the_model_is_not_touched() -> None:
    mine, _ = nets()
    before = {name: value.clone() for name, value in mine.state_dict().items()}
    average = here.AveragedModel(mine, multi_avg_fn=here.get_ema_multi_avg_fn())
    average.update_parameters(mine)
    average.update_parameters(mine)
    for name, value in mine.state_dict().items():
        assert torch.equal(value, before[name])
    pointers = {param.data_ptr() for param in mine.parameters()}
    assert not any(param.data_ptr() in pointers for param in average.parameters())


def test_an_average_of_training_in_a_step() -> None:
    """After each update of a TrainingStep: the mean of all that it came to."""
    model = nn.Linear(3, 2)
    average, seen = here.AveragedModel(model), []
    optimizer = optim.Adam(model.parameters(), lr=0.1)
    for seed in range(4):
        train(model, optimizer, 1, seed)
        average.update_parameters(model)
        seen.append(model.weight.data.clone())
    torch.testing.assert_close(average.module.weight.data, torch.stack(seen).mean(0))
    assert average.n_averaged.dtype is torch.long


@pytest.mark.parametrize("pairs", [False, True])
def test_update_bn(pairs: bool) -> None:
    mine, twin = nets()
    mine.eval()
    twin.eval()
    for model, update in ((mine, here.update_bn), (twin, there.update_bn)):
        model[1].momentum = 0.3
        loader = [images(i) for i in range(5)]
        update([(x, 1) for x in loader] if pairs else loader, model)
        assert model[1].momentum == 0.3
        assert not model.training
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        torch.testing.assert_close(getattr(mine[1], name), getattr(twin[1], name), **EXACT)


def test_update_bn_leaves_other_models_and_restores_after_an_error() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    here.update_bn([torch.ones(1, 7)], model)  # no BatchNorm: not called at all
    mine, _ = nets()
    mine[1].eval()
    with pytest.raises(ValueError, match="shape"):
        here.update_bn([torch.ones(1, 7)], mine)
    assert mine[1].momentum == 0.1
    assert mine.training
    assert not mine[1].training


def test_errors() -> None:
    with pytest.raises(ValueError, match="one of the two"):
        here.AveragedModel(nn.Linear(1, 1), avg_fn=here.get_swa_avg_fn(), multi_avg_fn=here.get_swa_multi_avg_fn())
    for function in (here.get_ema_avg_fn, here.get_ema_multi_avg_fn):
        with pytest.raises(ValueError, match="decay=1.5: expected a number from 0 to 1"):
            function(1.5)

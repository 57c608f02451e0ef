"""Clipping against PyTorch's; PyTorch's on modgrad's parameters."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from modgrad import nn, optim
from modgrad.optim import clipping
from tests.optim.models import models

theirs: Any = torch.nn.utils
EXACT = {"rtol": 1e-12, "atol": 1e-14}
NORMS = [2.0, 1.0, 0.5, 3, math.inf, 0.0]


def pairs(dtypes: tuple[torch.dtype, ...] = (torch.float64,)) -> tuple[list[Any], list[Any]]:
    """Parameters with gradients here and there; the last of them has none."""
    mine, others = [], []
    for dtype in dtypes:
        for shape in ((4, 3), (5,), ()):
            value, grad = torch.ones(shape, dtype=dtype), torch.randn(shape, dtype=torch.float64).to(dtype)
            mine.append(nn.Parameter(value.clone()))
            others.append(torch.nn.Parameter(value.clone()))
            mine[-1].grad_v, others[-1].grad = grad.clone(), grad.clone()
    return [*mine, nn.Parameter(torch.ones(2))], [*others, torch.nn.Parameter(torch.ones(2))]


def assert_same_gradients(mine: list[Any], others: list[Any], **tolerance: float) -> None:
    for a, b in zip(mine, others, strict=True):
        if b.grad is None:
            assert a.grad_v is None
        else:
            torch.testing.assert_close(a.grad_v, b.grad, **tolerance)


@pytest.mark.parametrize("norm_type", NORMS)
@pytest.mark.parametrize("foreach", [None, True, False])
@pytest.mark.parametrize("most", [0.3, 100.0])
def test_norms(norm_type: float, foreach: bool | None, most: float) -> None:
    mine, others = pairs()
    a = nn.utils.clip_grad_norm_(iter(mine), most, norm_type, foreach=foreach)
    b = theirs.clip_grad_norm_(others, most, norm_type, foreach=foreach)
    torch.testing.assert_close(a, b, **EXACT)
    assert_same_gradients(mine, others, **EXACT)
    grads = [param.grad_v for param in mine[:3]]
    norm = nn.utils.get_total_norm(grads, norm_type, foreach=foreach)
    torch.testing.assert_close(norm, theirs.get_total_norm(grads, norm_type, foreach=foreach), **EXACT)
    torch.testing.assert_close(norm, clipping.total_norm(grads, float(norm_type)), **EXACT)


@pytest.mark.parametrize("foreach", [None, True, False])
def test_values_and_a_norm_that_is_given(foreach: bool | None) -> None:
    mine, others = pairs()
    nn.utils.clip_grad_value_(mine, 0.5, foreach)
    theirs.clip_grad_value_(others, 0.5, foreach)
    assert_same_gradients(mine, others, **EXACT)
    norm = torch.tensor(7.0, dtype=torch.float64)
    nn.utils.clip_grads_with_norm_(mine, 0.5, norm, foreach)
    theirs.clip_grads_with_norm_(others, 0.5, norm, foreach)
    assert_same_gradients(mine, others, **EXACT)


def test_mixed_dtypes() -> None:
    mine, others = pairs((torch.float64, torch.float32, torch.bfloat16))
    a, b = nn.utils.clip_grad_norm_(mine, 0.5), theirs.clip_grad_norm_(others, 0.5)
    torch.testing.assert_close(a, b, rtol=1e-6, atol=0.0)
    assert_same_gradients(mine, others, rtol=1e-2, atol=1e-6)
    nn.utils.clip_grad_value_(mine, 0.1)
    assert all(param.grad_v.abs().max() <= 0.1001 for param in mine[:-1])


def test_one_parameter_and_none() -> None:
    param = nn.Parameter(torch.ones(2))
    assert nn.utils.clip_grad_norm_(param, 1.0) == 0
    assert nn.utils.clip_grad_norm_([], 1.0) == nn.utils.get_total_norm([]) == 0
    param.grad_v = torch.tensor([3.0, 4.0])
    assert nn.utils.clip_grad_norm_(param, 1.0) == 5
    torch.testing.assert_close(param.grad_v, torch.tensor([0.6, 0.8]))
    assert nn.utils.get_total_norm(torch.tensor([3.0, 4.0])) == 5
    nn.utils.clip_grad_value_(param, 0.7)
    torch.testing.assert_close(param.grad_v, torch.tensor([0.6, 0.7]))
    nn.utils.clip_grads_with_norm_([], 1.0, torch.tensor(1.0))
    nn.utils.clip_grad_value_([], 1.0)


@pytest.mark.parametrize("strange", [torch.nan, torch.inf])
def test_a_norm_that_is_no_number(strange: float) -> None:
    mine, others = pairs()
    mine[0].grad_v[0, 0] = strange
    with torch.no_grad():
        others[0].grad[0, 0] = strange
    before = mine[1].grad_v.clone()
    with pytest.raises(RuntimeError, match=f"of order 2.0 of 3 gradients is {strange}.*error_if_nonfinite=False"):
        nn.utils.clip_grad_norm_(mine, 1.0, error_if_nonfinite=True)
    assert torch.equal(mine[1].grad_v, before)
    nn.utils.clip_grad_norm_(mine, 1.0)
    theirs.clip_grad_norm_(others, 1.0)
    for a, b in zip(mine[:3], others[:3], strict=True):
        torch.testing.assert_close(a.grad_v, b.grad, equal_nan=True, **EXACT)


def test_it_is_one_and_the_same_in_both_rooms() -> None:
    for name in ("clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_", "get_total_norm"):
        assert getattr(nn.utils, name) is getattr(optim, name)


def test_pytorchs_clipping_works_on_modgrads_parameters() -> None:
    mine, twin = models()
    x, y = torch.randn(7, 3, dtype=torch.float64), torch.randn(7, 2, dtype=torch.float64)
    (nn.MSELoss()(mine(x), y) * 100).backward()
    (torch.nn.MSELoss()(twin(x), y) * 100).backward()
    norms = [torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0) for model in (mine, twin)]
    torch.testing.assert_close(*norms, **EXACT)
    for a, b in zip(mine.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a.grad_v, b.grad, rtol=1e-10, atol=1e-12)
        assert a.grad is a.grad_v

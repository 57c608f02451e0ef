"""SparseAdam against PyTorch's, by gradients that are set by hand."""

from __future__ import annotations

import contextlib
import copy
from typing import Any

import pytest
import torch

from modgrad import functional, nn, optim
from tests.optim.common import EXACT, assert_alike

OPTIONS: list[dict[str, Any]] = [{}, {"lr": 0.1, "betas": (0.8, 0.9), "eps": 1e-3, "maximize": True}]


def sparse_course(param: Any, optimizer: Any, steps: int, first: int = 0) -> None:
    """Rows looked up, some twice, none in one of the steps."""
    for number in range(first, first + steps):
        generator = torch.Generator().manual_seed(number)
        count = 0 if number == 1 else 4
        rows = torch.randint(6, (1, count), generator=generator)
        values = torch.randn(count, 3, generator=generator, dtype=torch.float64)
        param.grad = torch.sparse_coo_tensor(rows, values, (6, 3), check_invariants=False)
        optimizer.step()


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("bodies", [contextlib.nullcontext, functional.formulas], ids=["in place", "formula"])
def test_same_numbers_as_pytorch(options: dict[str, Any], bodies: Any) -> None:
    value = torch.randn(6, 3, dtype=torch.float64)
    a, b = nn.Parameter(value.clone()), torch.nn.Parameter(value.clone())
    here, there = optim.SparseAdam([a], **options), torch.optim.SparseAdam([b], **options)
    with bodies():
        sparse_course(a, here, 50)
    sparse_course(b, there, 50)
    assert_alike([a], [b], **EXACT)
    over, back = torch.nn.Parameter(a.data.clone()), nn.Parameter(b.data.clone())
    taken, returned = torch.optim.SparseAdam([over]), optim.SparseAdam([back])
    saved = here.state_dict()
    assert saved["state"][0]["step"] == 50
    assert isinstance(saved["state"][0]["step"], int)
    assert saved["param_groups"] == there.state_dict()["param_groups"]
    taken.load_state_dict(copy.deepcopy(saved))  # PyTorch takes over the tensors themselves
    returned.load_state_dict(there.state_dict())
    for param, optimizer in ((a, here), (b, there), (over, taken), (back, returned)):
        sparse_course(param, optimizer, 50, first=50)
    for param in (b, over, back):
        assert_alike([a], [param], **EXACT)


def test_what_has_no_entry_stays() -> None:
    param = nn.Parameter(torch.ones(4, 2))
    param.grad_v = torch.sparse_coo_tensor([[1]], [[1.0, 2.0]], (4, 2), check_invariants=False)
    optimizer = optim.SparseAdam([param], lr=0.1)
    optimizer.step()
    assert torch.equal(param.data[[0, 2, 3]], torch.ones(3, 2))
    assert not torch.equal(param.data[1], torch.ones(2))


def test_dense_gradients_are_refused() -> None:
    param = nn.Parameter(torch.ones(4, 2))
    (param * 2).sum().backward()
    with pytest.raises(RuntimeError, match=r"dense gradient of shape \(4, 2\), as all gradients are.*optim.Adam"):
        optim.SparseAdam([param]).step()
    for name in ("lr", "eps"):
        with pytest.raises(ValueError, match=f"{name}=0.0.*above 0"):
            optim.SparseAdam([param], **{name: 0.0})

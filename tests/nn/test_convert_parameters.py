"""Parameters as a vector, and back."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from modgrad import nn


def test_there_and_back() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
    twin = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, 1))
    twin.load_state_dict(model.state_dict())
    vector: Any = nn.utils.parameters_to_vector(model.parameters())
    assert torch.equal(vector.detach(), torch.nn.utils.parameters_to_vector(twin.parameters()).detach())
    new = torch.arange(11.0)
    held = list(model.parameters())
    nn.utils.vector_to_parameters(new, model.parameters())
    torch.nn.utils.vector_to_parameters(new.clone(), twin.parameters())
    for a, b, c in zip(model.parameters(), twin.parameters(), held, strict=True):
        assert a is c
        assert torch.equal(a.data, b.data)
    new.zero_()
    assert not any(param.data.any() for param in model.parameters()), "they share the vector's memory"


def test_a_penalty_on_the_vector_gives_gradients() -> None:
    model = nn.Linear(3, 2)
    (nn.utils.parameters_to_vector(model.parameters()) ** 2).sum().backward()
    torch.testing.assert_close(model.weight.grad_v, 2 * model.weight.data)
    torch.testing.assert_close(model.bias.grad_v, 2 * model.bias.data)


@pytest.mark.parametrize(
    ("vector", "error", "message"),
    [
        ([1.0], TypeError, "expected a tensor of one dimension, got list"),
        (torch.ones(3), ValueError, r"the parameters' 8 values, got Tensor of shape \(3,\)"),
        (torch.ones(2, 4), ValueError, r"8 values, got Tensor of shape \(2, 4\)"),
    ],
)
def test_errors(vector: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        nn.utils.vector_to_parameters(vector, nn.Linear(3, 2).parameters())


def test_several_devices_are_refused() -> None:
    params = [nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1, device="meta"))]
    with pytest.raises(TypeError, match=r"several devices \(cpu, meta\)"):
        nn.utils.parameters_to_vector(params)

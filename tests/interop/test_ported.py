"""A model is ported by changing the import: the same code over PyTorch's layers and over modgrad's gives the same
weights from the same seed, the same loss, and the same gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import modgrad.nn
from modgrad import nn
from tests.interop import ported_images, ported_sequences  # noqa: F401 (they register themselves)
from tests.interop.ported import MODELS


def _trained(layers: Any, name: str) -> tuple[Tensor, dict[str, Tensor | None]]:
    """The loss and the gradients of a model made of `layers`."""
    make, shapes = MODELS[name]
    torch.manual_seed(0)
    model = make(layers).double()
    output = model(*(torch.randn(shape, dtype=torch.float64) for shape in shapes))
    weights = torch.linspace(-1, 1, output.numel(), dtype=torch.float64).view(output.shape) if output.dim() else 1.0
    loss = (output * weights).sum()
    loss.backward()
    return loss.detach(), {name: parameter.grad for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("name", MODELS)
def test_a_ported_model_gives_the_same_numbers(name: str) -> None:
    theirs, mine = _trained(torch.nn, name), _trained(nn, name)
    torch.testing.assert_close(mine[0], theirs[0], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(mine[1], theirs[1], rtol=1e-8, atol=1e-11)


def test_functions_by_the_layers_own_import() -> None:
    assert modgrad.nn.functional is F  # type: ignore[attr-defined]
    assert nn.functional.relu(nn.Variable(torch.ones(2))).previous_module is not None


def test_what_is_to_be_changed_in_place_is_spent() -> None:
    """Its value would be another in PyTorch."""
    x = nn.Variable(torch.tensor([-1.0, 2.0])) * 1
    y = F.relu(x, inplace=True)
    assert y.tolist() == [0.0, 2.0]
    with pytest.raises(RuntimeError, match="is used after relu was done to it in place"):
        x + 1
    whole = nn.Variable(torch.ones(2, 2)) * 1
    part = whole[0]
    with pytest.raises(RuntimeError, match="shares memory with others"):
        F.relu(part, inplace=True)
    assert (whole + part).sum().item() == 8.0, "nothing is lost"

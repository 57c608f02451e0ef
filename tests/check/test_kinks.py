"""Kinks and jumps: between the one-sided slopes everything is right, outside of them it is wrong."""

from typing import Any

import pytest
import torch
from torch import Tensor

from modgrad import check, nn


class Slope(nn.Primitive):
    """max(x, 0), with a chosen derivative at 0."""

    def __init__(self, at_zero: float, sign: float = 1.0) -> None:
        super().__init__()
        self.at_zero, self.sign = at_zero, sign

    def forward(self, call: Any, x: Tensor) -> Tensor:
        call.save(x)
        return x.clamp(min=0)

    def backward(self, call: Any, grad: Tensor) -> Any:
        (x,) = call.saved
        return self.sign * grad * torch.where(x == 0, self.at_zero, (x > 0).to(x))


@pytest.mark.parametrize("at_zero", [0.0, 0.3, 0.5, 1.0])
def test_between_the_slopes(at_zero: float) -> None:
    report = check.gradients(Slope(at_zero), torch.tensor([0.0, 1.0, -1.0, 0.0]))
    assert report.ok, str(report)
    assert report.entries[0].at_kinks == (0 if at_zero == 0.5 else 2)


@pytest.mark.parametrize("at_zero", [-0.01, 1.01, 5.0, float("nan")])
def test_outside_of_the_slopes(at_zero: float) -> None:
    report = check.gradients(Slope(at_zero), torch.tensor([1.0, 0.0, -1.0]))
    (fault,) = report.faults
    assert fault.index == (1,)
    assert fault.at_kinks == 1
    assert "between the slopes" in str(report)


@pytest.mark.parametrize("distance", [1e-9, 5e-8, 1e-7, 3e-7, 1e-6, 1e-5, 1e-3])
def test_near_a_kink(distance: float) -> None:
    x = torch.tensor([distance, -distance, 1.0])
    report = check.gradients(Slope(0.0), x)
    assert report.ok, str(report)
    assert not check.gradients(Slope(0.0, sign=-1.0), torch.tensor([distance])).ok


def test_ties_in_max_pooling() -> None:
    zeros = torch.zeros(1, 2, 4, 4)
    report = check.gradients(nn.MaxPool2d(3, 1, 1), zeros)  # windows overlap: an element may win in several
    assert report.ok, str(report)
    assert report.entries[0].at_kinks > 0

    class Negative(nn.MaxPool2d):
        def backward(self, call: Any, grad: Tensor, *of_indices: None) -> Tensor:
            return -super().backward(call, grad, *of_indices)

    assert not check.gradients(Negative(2), zeros).ok


def test_absolute_value_at_zero() -> None:
    class Model(nn.Module):
        def forward(self, x: Any) -> Any:
            return x.abs()

    report = check.gradients(Model(), torch.tensor([0.0, 1.0, -2.0]))
    assert report.ok, str(report)


def test_a_whole_model_on_its_kinks() -> None:
    """At zero inputs without biases everything is on a kink; the chained derivative need not lie between the slopes."""
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3, bias=False), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(3, 3), nn.ReLU()
    )
    report = check.gradients(model, torch.zeros(2, 1, 4, 4))
    assert report.ok, str(report)
    assert sum(entry.at_kinks for entry in report if entry.whole) > 0


def test_jumps_and_ends_of_domains_are_not_measured_and_said_so() -> None:
    class Floor(nn.Primitive):
        def forward(self, _: Any, x: Tensor) -> Tensor:
            return x.floor()

        def backward(self, _: Any, grad: Tensor) -> Tensor:
            return torch.zeros_like(grad)

    class Root(nn.Primitive):
        def forward(self, call: Any, x: Tensor) -> Tensor:
            y = x.sqrt()
            call.save(y)
            return y

        def backward(self, call: Any, grad: Tensor) -> Any:
            return grad / (2 * call.saved[0])

    for module, x in [(Floor(), torch.tensor([1.5, 1.0])), (Root(), torch.tensor([4.0, 0.0]))]:
        report = check.gradients(module, x)
        assert report.ok, str(report)
        assert report.entries[0].unmeasured == 1
        assert "1 not measured" in str(report)

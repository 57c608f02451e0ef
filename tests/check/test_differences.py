"""The measured derivative itself: how near it comes, and what it is known to, where functions are hard to measure."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from modgrad import check, nn
from modgrad.check.differences import Verdict, first_look, judge, settled

FUNCTIONS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor], list[float]]] = {
    "near a pole": (torch.log, lambda x: 1 / x, [1e-12, 1e-8, 1e-3, 1.0, 1e3]),
    "growing": (torch.exp, torch.exp, [-30.0, -1.0, 0.0, 1.0, 50.0]),
    "fast": (lambda x: (1e3 * x).sin(), lambda x: 1e3 * (1e3 * x).cos(), [0.1, 0.7, 2.3]),
    "faster": (lambda x: (1e5 * x).sin(), lambda x: 1e5 * (1e5 * x).cos(), [0.1, 0.7, 2.3]),
    "on an offset": (lambda x: 1e6 + x.tanh(), lambda x: 1 - x.tanh() ** 2, [-1.0, 0.2, 0.9]),
    "with cancellation": (lambda x: (x + 1e8) - 1e8, torch.ones_like, [-1.0, 0.2, 0.9]),
    "nearly constant": (lambda x: 1 + 1e-9 * x, lambda x: torch.full_like(x, 1e-9), [-1.0, 0.2, 0.9]),
    "of small values": (lambda x: 1 + 3 * x, lambda x: torch.full_like(x, 3), [1e-12, -3e-12]),
    "of large values": (lambda x: x * x, lambda x: 2 * x, [1e8, -3e7]),
    "of very different values": (torch.tanh, lambda x: 1 - x.tanh() ** 2, [1e8, 1.0, 0.5, -0.3, 1e-8]),
    "saturating": (torch.sigmoid, lambda x: x.sigmoid() * (-x).sigmoid(), [-40.0, -20.0, 0.0, 20.0, 40.0]),
    "in float32 inside": (lambda x: x.float().tanh().double(), lambda x: 1 - x.tanh() ** 2, [-1.0, 0.2, 0.9]),
    "to float32": (lambda x: x.float().tanh(), lambda x: 1 - x.tanh() ** 2, [-1.0, 0.2, 0.9]),
}


class Stated(nn.Primitive):
    def __init__(self, name: str, factor: float) -> None:
        super().__init__()
        self.function, self.derivative, _ = FUNCTIONS[name]
        self.factor = factor

    def forward(self, call: Any, x: Tensor) -> Tensor:
        call.save(x)
        return self.function(x)

    def backward(self, call: Any, grad: Tensor) -> Tensor:
        return self.factor * grad * self.derivative(call.saved[0])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_hard_functions(name: str) -> None:
    """The right derivative is not accused; one that is off by a thousandth is found, as is none at all."""
    x = torch.tensor(FUNCTIONS[name][2], dtype=torch.float64)
    for seed in range(3):
        report = check.gradients(Stated(name, 1.0), x, seed=seed)
        assert report.ok, str(report)
        assert not check.gradients(Stated(name, 1.001), x, seed=seed).ok
        assert not check.gradients(Stated(name, -1.0), x, seed=seed).ok


def _line(function: Callable[[Tensor], Tensor], at: float) -> Any:
    def line(t: float) -> tuple[float, Tensor]:
        x = torch.tensor([at + t], dtype=torch.float64)
        return float(x) - at, function(x)

    return line


ONE = torch.ones(1, dtype=torch.float64)


def test_first_look_is_good_to_nine_digits() -> None:
    assert first_look(_line(torch.exp, 1.0), ONE, 1.0) == pytest.approx(math.e, rel=1e-9)


def test_settled_knows_its_error() -> None:
    for function, at, derivative in [(torch.exp, 1.0, math.e), (torch.log, 1e-9, 1e9), (torch.tanh, 20.0, 0.0)]:
        slope = settled(_line(function, at), ONE, 1.0, near=at)
        assert abs(slope.value - derivative) <= 5 * slope.error + slope.floor
        assert slope.error <= max(1e-6 * derivative, slope.floor)
        assert not slope.kink


def test_settled_finds_what_is_much_smaller_or_larger_than_the_usual_step() -> None:
    """Where far larger steps are tried, too, a function that levels off says 0 to many digits; that is not it."""
    slope = settled(_line(torch.tanh, 0.5), ONE, 1.0, far=1e14)
    assert slope.value == pytest.approx(1 - math.tanh(0.5) ** 2, rel=1e-8)
    assert settled(_line(torch.log, 1e-12), ONE, 0.1, near=1e-11).value == pytest.approx(1e12, rel=1e-6)
    slope = settled(_line(lambda x: 1 + 1e-12 * x, 0.1), ONE, 1.0, far=1e6)
    assert slope.value == pytest.approx(1e-12, rel=1e-6)


def test_elements_are_measured_on_their_own_scale_and_on_that_of_the_others() -> None:
    (entry,) = check.gradients(Stated("near a pole", 1.0), torch.tensor([1e-12], dtype=torch.float64))
    assert (entry.ok, entry.unmeasured) == (True, 0)
    x = 1e12 * torch.randn(3, 1, 2, 2, dtype=torch.float64)
    x[0, 0, 0, 0] = 0
    entry = check.gradients(nn.BatchNorm2d(1), x).entries[0]
    assert (entry.of, entry.ok, entry.unmeasured) == ("input 0", True, 0)


def test_settled_does_not_take_steps_that_are_too_small_to_be_seen_for_a_derivative_of_0() -> None:
    slope = settled(_line(lambda x: (x.float() - 0.5).double(), 0.5), ONE, 1.0)
    assert slope.value == pytest.approx(1, rel=1e-3)


def test_rounding_in_what_is_stated_is_not_an_error() -> None:
    constant = settled(_line(torch.ones_like, 0.5), ONE, 1.0)
    assert judge(1e-16, constant, 1e-16) is Verdict.RIGHT
    assert judge(1e-10, constant, 1e-10) is Verdict.WRONG


def test_verdicts() -> None:
    smooth = settled(_line(torch.exp, 0.0), ONE, 1.0)
    assert judge(1.0, smooth, 1.0) is Verdict.RIGHT
    assert judge(1.0001, smooth, 1.0) is Verdict.WRONG
    assert judge(math.inf, smooth, 1.0) is Verdict.WRONG
    kink = settled(_line(torch.abs, 0.0), ONE, 1.0)
    assert (kink.kink, kink.low, kink.high) == (True, -1, 1)
    assert judge(0.7, kink, 1.0) is Verdict.AT_KINK
    assert judge(1.1, kink, 1.0) is Verdict.WRONG_AT_KINK
    jump = settled(_line(torch.floor, 0.0), ONE, 1.0)
    assert judge(0.0, jump, 1.0) is Verdict.UNMEASURED
    nothing = settled(_line(lambda x: x * torch.nan, 0.0), ONE, 1.0)
    assert judge(0.0, nothing, 1.0) is Verdict.UNMEASURED

"""How a report reads."""

from typing import Any

import torch
from torch import Tensor

from modgrad import check, nn


class Wrong(nn.Tanh):
    def backward(self, call: Any, grad: Tensor) -> Tensor:
        return 3 * super().backward(call, grad)


def test_wrong() -> None:
    model = nn.Sequential(nn.Linear(3, 2), Wrong())
    report = check.gradients(model, torch.randn(2, 3))
    (fault,) = report.faults
    assert str(report).splitlines() == [
        "Sequential: 1 of 4 derivatives is wrong",
        "",
        f"1 (Wrong), input 0: wrong at [{fault.index[0]}, {fault.index[1]}]",  # type: ignore[index]
        f"    stated {fault.stated:.8g}, measured {fault.measured:.8g}, relative error 0.67",
        "    4 of 4 elements differ; stated is 3 times measured throughout",
        "",
        "Sequential was not compared from end to end: what is above must be right first.",
    ]
    assert [entry.ok for entry in report] == [True, True, True, False]


def test_right() -> None:
    report = check.gradients(nn.Sequential(nn.Linear(3, 2, bias=False), nn.Tanh()), torch.randn(2, 3))
    lines = str(report).splitlines()
    assert lines[:2] == ["Sequential: all 5 derivatives are right", ""]
    assert [line.rpartition("  ")[0].split("   ")[0].strip() for line in lines[2:]] == [
        "module",
        "0 (Linear)",
        "0 (Linear)",
        "1 (Tanh)",
        "Sequential, from end to end",
        "Sequential, from end to end",
    ]
    assert bool(report) is report.ok is True
    assert report.faults == []

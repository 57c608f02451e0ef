"""`import modgrad`: every room is there, whichever was asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

import modgrad


def run(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_names() -> None:
    for name in modgrad.__all__:
        assert getattr(modgrad, name) is getattr(modgrad, name)
        assert name in dir(modgrad)
    with pytest.raises(AttributeError, match="module 'modgrad' has no attribute 'nowhere'"):
        _ = modgrad.nowhere
    with pytest.raises(ImportError, match="cannot import name 'nowhere' from 'modgrad'"):
        from modgrad import nowhere  # noqa: F401


CASES = {
    "star": "from modgrad import *; nn.Linear, save, check.gradients, step.TrainingStep, export.OnnxTrainer",
    "PyTorch's functions on Variables, whatever was imported": (
        "from modgrad.graph import Variable; import torch; "
        "x = Variable(torch.ones(3)); torch.nn.functional.silu(x).sum().backward(); assert x.grad_v is not None"
    ),
    "PyTorch's optimizers, whatever was imported": (
        "from modgrad.graph import Parameter; import torch; p = Parameter(torch.ones(3)); p.grad = torch.ones(3); "
        "torch.optim.Adam([p]).step(); assert float(p.detach().sum()) < 3"
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_in_a_fresh_interpreter(case: str) -> None:
    run(CASES[case])

"""Every module and operator of the library has a form in ONNX that gives its numbers: over all rows of the table."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import onnx
import pytest
import torch
from torch import Tensor

from modgrad import nn, optim
from modgrad.export.onnx.errors import ExportError
from modgrad.step import TrainingStep
from modgrad.step.dryrun import UntraceableError
from tests.cases import CASES, FIRST, Case, Inputs, _families, row
from tests.export.calls import Calls

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")

# What has no form in ONNX, and why.
IMPOSSIBLE = {
    "masked_select": "how many values come out depends on the mask",
    "mask": "how many values come out depends on the mask",
    "repeated unevenly": "how many values come out depends on the numbers of repeats",
}
# onnxruntime has these in float32 only.
SINGLE = {"AveragePool", "Conv", "ConvTranspose"}
# In float64 values are compared to a few hundred roundings, but for these:
DOUBLE = {"gamma functions": 1e-8}  # PyTorch's own polygamma is no more exact


def _possible(cases: list[Case]) -> list[Case]:
    return [case for case in cases if case.name not in IMPOSSIBLE]


def _all_inputs(case: Case) -> list[tuple[str, Case, Callable[[], Inputs]]]:
    every = [*case.inputs, *([case.empty] if case.empty is not None else [])]
    return [(f"{case} {i}", case, make) for i, make in enumerate(every)]


@pytest.mark.parametrize("family", _families, ids=lambda family: family.__name__.partition("cases.")[2])
def test_family(family: ModuleType) -> None:
    """The first row of each primitive, all of a family in one graph."""
    cases = [case for case in _possible(getattr(family, "CASES", [])) if case in FIRST]
    if cases:
        _compare(Calls([(case.name, case, case.inputs[0]) for case in cases]))


@pytest.mark.parametrize("case", [row(case, thorough=True) for case in _possible(CASES)])
def test_row(case: Case) -> None:
    """Every row, with all of its inputs, empty ones too."""
    _compare(Calls(_all_inputs(case)))


@pytest.mark.parametrize("case", [row(case, thorough=True) for case in _possible(CASES)])
def test_row_in_double(case: Case) -> None:
    calls = Calls([(case.name, case, case.inputs[0])], torch.float64)
    graph = calls.graph()
    if SINGLE.intersection(node.op_type for node in onnx.load_from_string(graph).graph.node):
        return
    rounding = DOUBLE.get(case.name, 1e-12)
    expected = calls.eagerly(torch.float64, kernels=True)
    for name, value in calls.run(graph).items():
        torch.testing.assert_close(
            value,
            expected[name],
            rtol=rounding,
            atol=rounding * max(1.0, _largest(expected[name])),
            equal_nan=True,
            msg=lambda m, n=name: f"{n}: {m}",
        )


def _compare(calls: Calls) -> None:
    """In float32, by the measure that an export is held to: onnxruntime may be farther from what float64 gives than
    modgrad is, by kernels or by formulas, but not by another order of magnitude than sums in another order are."""
    found = calls.run(calls.graph())
    kernels, formulas = (calls.eagerly(torch.float32, which) for which in (True, False))
    exact = calls.eagerly(torch.float64, kernels=True)
    assert list(found) == list(kernels) == list(formulas) == list(exact)
    for name, value in found.items():
        expected = kernels[name]
        assert value.shape == expected.shape, name
        assert value.dtype == expected.dtype, name
        if not value.is_floating_point():
            assert torch.equal(value, expected), name
            continue
        noise = max(_distance(each[name], exact[name]) for each in (kernels, formulas))
        allowed = 64 * (noise + torch.finfo(value.dtype).eps * _largest(exact[name]))
        assert _distance(value, exact[name]) <= allowed, f"{name}: {value}, expected {expected}"


def _distance(a: Tensor, b: Tensor) -> float:
    a, b = a.double(), b.double()
    apart = torch.where((a == b) | (a.isnan() & b.isnan()), 0.0, (a - b).abs())
    return float(apart.nan_to_num(nan=float("inf")).amax()) if apart.numel() else 0.0


def _largest(x: Tensor) -> float:
    x = x.double().abs()
    return float(x[x.isfinite()].amax()) if bool(x.isfinite().any()) else 0.0


class Holder(nn.Module):
    """A model with the case's module in it."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.inner = inner

    def forward(self, *inputs: Any) -> Any:
        first, *rest = inputs
        return self.inner(first * self.scale, *rest)


class Total(nn.Module):
    def forward(self, x: Any, _: Any) -> Any:
        return x.sum()


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_what_is_impossible_is_refused_by_name(name: str, tmp_path: Any) -> None:
    (case,) = (case for case in CASES if case.name == name)
    inputs = [x.float() if x.is_floating_point() else x for x in case.inputs[0]()]
    model = Holder(case.make())
    step = TrainingStep(model, Total(), optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises((ExportError, UntraceableError), match=r"module 'inner' \(Function\) asks for the value"):
        step.export_onnx(tmp_path / "model.onnx", *inputs, torch.zeros(()))
    assert not list(tmp_path.iterdir())

"""Every row of the table of primitives, forward and backward, has a form in ONNX that gives the step's numbers.

A row is compared with itself in float64: onnxruntime may be farther from that than the eager module, by kernels or by
formulas, by as much as another order of summation makes.
"""

from __future__ import annotations

from typing import Any

import onnx
import onnxruntime
import pytest
import torch

from modgrad.export.onnx.errors import ExportError
from tests.cases import CASES, row
from tests.export.rows import Row
from tests.export.running import run

# The rows that cannot be exported, each with what stands in the way.
NOT_EXPORTED = {
    "masked_select": (r"index of bools", "the result's shape depends on values"),
    "mask": (r"index of bools", "the result's shape depends on values"),
    "repeated unevenly": (r"aten\.repeat_interleave", "the result's shape depends on values"),
}


# One or two of each family; the others are left to `make test-all`.
QUICK = {
    *("Conv2d", "BatchNorm2d", "MaxPool2d", "Embedding", "LayerNorm", "LSTM-one", "CrossEntropyLoss", "attention"),
    *("Dropout", "gather", "sort", "cumprod", "matmul", "cat", "BCEWithLogitsLoss", "Upsample-nearest", "GELU", "mask"),
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("case", [row(case, thorough=case.name not in QUICK) for case in CASES])
def test_a_row_in_onnxruntime(case: Any) -> None:
    if case.name in NOT_EXPORTED:
        with pytest.raises(ExportError, match=NOT_EXPORTED[case.name][0]):
            Row(case).lowered()
        return
    made = Row(case)
    proto, given = made.lowered()
    onnx.checker.check_model(proto, full_check=True)
    assert {node.domain for node in proto.graph.node} == {""}
    found = list(run(onnxruntime.InferenceSession(proto.SerializeToString()), given).values())
    for mine, kernels, formulas, exact in zip(
        found, made.expected(True), made.expected(False), made.expected(True, torch.float64), strict=True
    ):
        assert mine.shape == kernels.shape
        assert mine.dtype == kernels.dtype
        if not mine.is_floating_point():
            assert torch.equal(mine, kernels)
            continue
        apart = max(float(distance(x, exact)) for x in (kernels, formulas))
        largest = distance(exact.nan_to_num(posinf=0, neginf=0), torch.zeros(()))
        assert distance(mine, exact) <= 64 * (apart + torch.finfo(mine.dtype).eps * largest)


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    a, b = a.double(), b.double()
    apart = torch.where((a == b) | (a.isnan() & b.isnan()), 0.0, (a - b).abs())
    return float(apart.amax()) if apart.numel() else 0.0


def test_every_row_that_is_not_exported_is_there() -> None:
    assert NOT_EXPORTED.keys() <= {case.name for case in CASES}
    assert {case.name for case in CASES} >= QUICK

"""The gradients of convolutions and of max pooling in ONNX: in operations that onnxruntime runs fast, by shape."""

from __future__ import annotations

from typing import Any

import onnx
import pytest
import torch

from modgrad.export.onnx.lowering.convolution import convolution_backward
from tests.cases import CASES
from tests.cases.table import layer, normal
from tests.export.calls import Calls

# (input, weight, stride, padding, dilation, groups), and a transposed one's output padding
CONVOLUTIONS: dict[str, tuple[Any, ...]] = {
    "few channels": ((2, 1, 7, 6), (4, 1, 3, 2), [1, 1], [1, 0], [1, 1], 1),
    "many channels": ((2, 6, 7, 6), (3, 6, 3, 2), [1, 1], [1, 1], [1, 1], 1),
    "many channels, dilated, in groups": ((2, 6, 9, 8), (4, 3, 3, 2), [1, 2], [2, 1], [2, 3], 2),
    "rows by strides": ((2, 6, 9, 8), (4, 6, 3, 2), [2, 1], [1, 1], [1, 2], 1),
    "unreached at the end": ((2, 3, 10, 9), (2, 3, 1, 1), [4, 3], [0, 0], [1, 1], 1),
    "one place of large images": ((2, 4, 12, 11), (6, 2, 1, 1), [1, 1], [0, 0], [1, 1], 2),
    "one place of large images, alone": ((3, 4, 12, 11), (6, 4, 1, 1), [1, 1], [0, 1], [1, 1], 1),
    "as many channels as onnxruntime's columns": ((2, 32, 7, 6), (2, 16, 3, 2), [1, 2], [1, 0], [2, 1], 2),
    "by channel": ((2, 4, 5, 5), (8, 1, 3, 3), [1, 1], [1, 1], [1, 1], 4),
    "one dimension": ((2, 4, 11), (6, 2, 3), [3], [2], [2], 2),
    "three dimensions": ((2, 4, 3, 4, 5), (2, 4, 2, 1, 3), [1, 1, 1], [1, 0, 1], [1, 1, 1], 1),
    "three dimensions by strides": ((2, 4, 5, 4, 6), (2, 2, 3, 1, 2), [2, 3, 1], [1, 0, 2], [1, 2, 3], 2),
    "transposed": ((2, 4, 3, 5), (4, 3, 3, 3), [1, 1], [1, 0], [1, 2], 1, [0, 0]),
    "transposed by strides": ((2, 4, 3, 2), (4, 3, 3, 2), [2, 3], [1, 0], [2, 1], 2, [1, 2]),
    "transposed, padded by more than a stride": ((2, 2, 3, 3), (2, 3, 3, 3), [1, 1], [0, 1], [3, 3], 1, [2, 1]),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_gradients_in_other_operations(name: str) -> None:
    """Equal to ATen's kernel, all of them and each alone."""
    torch.manual_seed(0)
    shape, weight_shape, stride, padding, dilation, groups, *more = CONVOLUTIONS[name]
    x, weight = (torch.randn(s, dtype=torch.float64) for s in (shape, weight_shape))
    how: Any = stride, padding, dilation, bool(more), more[0] if more else [0] * len(stride), groups
    y = torch.convolution(x, weight, None, *how)
    grad, sizes = torch.randn_like(y), [y.shape[1]]
    expected = torch.ops.aten.convolution_backward(grad, x, weight, sizes, *how, [True, True, True])
    for mask in ([True, True, True], [True, False, False], [False, True, False], [False, False, True]):
        found = convolution_backward(grad, x, weight, sizes, *how, mask)
        for asked, value, wanted in zip(mask, found, expected, strict=True):
            assert (value is not None) == asked
            if value is not None:
                torch.testing.assert_close(value, wanted, rtol=1e-12, atol=1e-12)


ONE_PLACE = layer("Conv2d", normal((2, 3, 4, 4)), label="1x1", args=(3, 2, 1))
SMALL = layer("Conv2d", normal((2, 3, 2, 2)), label="small", args=(3, 16, 3), padding=1)
TURNED = layer(
    "ConvTranspose2d", normal((2, 32, 2, 2)), label="small", args=(32, 6, (3, 2)), padding=(1, 0), groups=2, dilation=2
)
# An operator that the graph of a row has, and one that it has not.
FORMS = {
    "Conv2d": ("MatMul", "Pad"),
    "Conv2d-strided": ("ConvTranspose", "MaxPool"),
    "Conv2d-1x1": ("Conv", "ConvTranspose"),
    "Conv2d-small": ("Conv", "ConvTranspose"),
    "ConvTranspose2d": ("ConvTranspose", "Pad"),
    "ConvTranspose2d-small": ("Conv", "ConvTranspose"),
    "MaxPool1d": ("MaxUnpool", "ScatterElements"),
    "MaxPool2d": ("MaxUnpool", "ScatterElements"),
    "MaxPool3d": ("MaxUnpool", "ScatterElements"),
    "MaxPool2d-indices": ("MaxUnpool", "ScatterElements"),
    "MaxPool2d-overlapping": ("ScatterElements", "MaxUnpool"),
    "MaxPool2d-dilated": ("ScatterElements", "MaxUnpool"),
}


@pytest.mark.parametrize("name", FORMS)
def test_forms(name: str) -> None:
    (case,) = (case for case in (*CASES, ONE_PLACE, SMALL, TURNED) if case.name == name)
    calls = Calls([(name, case, case.inputs[0])])
    graph = calls.graph()
    operators = {node.op_type for node in onnx.load_from_string(graph).graph.node}
    there, absent = FORMS[name]
    assert there in operators
    assert absent not in operators
    expected = calls.eagerly(torch.float64, kernels=True)
    for key, value in calls.run(graph).items():
        torch.testing.assert_close(value, expected[key].to(value.dtype), rtol=1e-5, atol=1e-5)


# (input, kernel, stride): of windows of two, which are pooled several times in place of pooling with places
WINDOWS = {
    "even": ((2, 3, 6, 4), 2, 2),
    "odd": ((2, 3, 7, 5), 2, 2),
    "without a batch": ((3, 6, 5), 2, 2),
    "wide": ((2, 3, 4, 7), (1, 2), (1, 2)),
    "high": ((2, 3, 7, 4), (2, 1), (2, 3)),
    "apart": ((2, 3, 9, 8), 2, (3, 4)),
    "overlapping": ((2, 3, 5, 6), 2, 1),
}


@pytest.mark.parametrize("name", WINDOWS)
def test_of_equal_values_the_first_is_taken(name: str) -> None:
    shape, kernel, stride = WINDOWS[name]
    case = layer(
        *("MaxPool2d", lambda: (torch.randint(3, shape).double(),)),
        **{"args": (kernel, stride), "return_indices": True},
    )
    calls = Calls([(name, case, case.inputs[0])])
    found, expected = calls.run(calls.graph()), calls.eagerly(torch.float32, kernels=True)
    assert len(found) == 3  # values, places, the input's gradient
    for key, value in found.items():
        torch.testing.assert_close(value, expected[key], rtol=1e-6, atol=0)

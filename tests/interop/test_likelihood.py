"""PyTorch's functions of losses of classes, on Variables: values and gradients are those they have on its tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from modgrad import nn

CLASSES = torch.tensor([0, 2, 1, -100])
NONE_IGNORED = CLASSES.clamp(min=0)
WEIGHT = torch.tensor([0.5, 2.0, 1.0], dtype=torch.float64)
LABELS = torch.tensor([[1, 2], [2, 2], [1, 0]])
FEATURES = torch.randn(4, 5, dtype=torch.float64)
since_2_13 = pytest.mark.skipif(not hasattr(F, "linear_cross_entropy"), reason="PyTorch has it since 2.13")


@pytest.mark.parametrize(
    ("use", "shape"),
    [
        (lambda x: F.cross_entropy(x, CLASSES), (4, 3)),
        (lambda x: F.cross_entropy(x, NONE_IGNORED, WEIGHT, ignore_index=1, reduction="none"), (4, 3)),
        (lambda x: F.cross_entropy(x, CLASSES, reduction="sum", label_smoothing=0.1), (4, 3)),
        (lambda x: F.cross_entropy(x, torch.softmax(x * 2, 1), WEIGHT, label_smoothing=0.1), (4, 3)),
        (lambda x: F.cross_entropy(FEATURES[:, :3], torch.softmax(x, 1)), (4, 3)),
        (lambda x: F.nll_loss(x, CLASSES), (4, 3)),
        (lambda x: F.nll_loss(x, CLASSES.expand(2, 4), weight=WEIGHT, reduction="none"), (2, 3, 4)),
        (lambda x: F.nll_loss(x, NONE_IGNORED, ignore_index=2, reduction="sum"), (4, 3)),
        (lambda x: F.ctc_loss(x.log_softmax(2), LABELS, (6, 6, 5), (2, 2, 1)), (6, 3, 3)),
        (lambda x: F.ctc_loss(x, LABELS - 1, (6, 6, 2), (1, 0, 1), 2, "none", True), (6, 3, 3)),
        (lambda x: F.ctc_loss(x, LABELS[0], torch.tensor(6), torch.tensor(2), reduction="sum"), (6, 3)),
        pytest.param(
            lambda x: F.linear_cross_entropy(FEATURES, x, CLASSES, weight=WEIGHT, reduction="none"),
            (3, 5),
            marks=since_2_13,
        ),
        pytest.param(
            lambda x: F.linear_cross_entropy(
                *(FEATURES, x, NONE_IGNORED.expand(2, 4).t()),
                linear_bias=x[..., 0] * 2,
                label_smoothing=0.2,
                ignore_index=1,
            ),
            (3, 2, 5),
            marks=since_2_13,
        ),
        pytest.param(
            lambda x: F.linear_cross_entropy(x, FEATURES[:3], torch.softmax(x[:, :3], 1), reduction="sum"),
            (4, 5),
            marks=since_2_13,
        ),
    ],
)
def test_same_as_on_tensors(use: Callable[[Any], Any], shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, dtype=torch.float64)
    mine, theirs = nn.Variable(x.clone()), x.clone().requires_grad_()
    y, twin = use(mine), use(theirs)
    upstream = torch.randn_like(twin)
    y.backward(upstream)
    twin.backward(upstream)
    torch.testing.assert_close(y.detach(), twin.detach(), rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(mine.grad_v, theirs.grad, rtol=1e-12, atol=1e-13)


def test_a_weight_that_wants_a_gradient_is_refused() -> None:
    x, target = nn.Variable(torch.randn(2, 3)), torch.tensor([0, 1])
    for weight in (nn.Variable(torch.ones(3)), nn.Parameter(torch.ones(3))):
        for function in (F.cross_entropy, F.nll_loss):
            with pytest.raises(TypeError, match=r"give weight.detach\(\)"):
                function(x, target, weight)
    assert F.nll_loss(x, target, nn.Parameter(torch.ones(3), False)).item() == F.nll_loss(x.detach(), target).item()

"""Shapes, dtypes, arguments and targets that do not fit a layer: what is said."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from modgrad import nn


@pytest.mark.parametrize(
    ("make", "shape", "message"),
    [
        (lambda: nn.Linear(4, 2), (5, 3), r"Linear\(in_features=4.*shape \(5, 3\).*in_features=4"),
        (lambda: nn.Conv2d(3, 2, 3), (2, 4, 5, 5), r"expected \(N, 3, H, W\)"),
        (lambda: nn.Conv2d(3, 2, 3), (5, 5), r"expected \(N, 3, H, W\)"),
        (lambda: nn.Conv1d(3, 2, 3), (3, 3, 5, 5), r"expected \(N, 3, L\) or \(3, L\)"),
        (lambda: nn.ConvTranspose3d(3, 2, 3), (5, 5), r"expected \(N, 3, D, H, W\)"),
        (lambda: nn.BatchNorm2d(3), (2, 4, 5, 5), r"expected \(N, 3, H, W\)"),
        (lambda: nn.BatchNorm2d(3), (1, 3, 1, 1), "more than one value for each channel"),
        (lambda: nn.MaxPool2d(2), (5, 5), r"expected \(N, C, H, W\)"),
        (lambda: nn.AdaptiveAvgPool2d(2), (5,), r"expected \(N, C, H, W\)"),
    ],
)
def test_a_wrong_input(make: Any, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()(nn.Variable(torch.ones(shape)))


def test_a_wrong_dtype() -> None:
    with pytest.raises(TypeError, match=r"input of torch.int64: write input.to\(torch.float32\)$"):
        nn.Linear(3, 2)(torch.ones(4, 3, dtype=torch.int64))
    with pytest.raises(TypeError, match=r"parameters of torch.float32.*input of torch.float64.*write input.to"):
        nn.Linear(3, 2)(torch.ones(4, 3, dtype=torch.float64))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.MSELoss(reduction="avg"), '"mean", "sum" or "none"'),
        (lambda: nn.CrossEntropyLoss(label_smoothing=2), "from 0 to 1"),
        (lambda: nn.Conv2d(3, 4, 3, groups=2), "divisible by groups"),
        (lambda: nn.Conv2d(3, 4, 3, padding="same", stride=2), "stride of 1"),
        (lambda: nn.Conv2d(3, 4, 3, padding="full"), "'valid' or 'same'"),
        (lambda: nn.Conv2d(3, 4, 3, padding_mode="mirror"), "'zeros', 'reflect', 'replicate', 'circular'"),
        (lambda: nn.ConvTranspose2d(3, 4, 3, padding_mode="reflect"), "'zeros' only"),
        (lambda: nn.ConvTranspose2d(3, 4, 3, padding="same"), "expected numbers"),
        (lambda: nn.Conv2d(3, 4, (3, 3, 3)), "a number or a pair"),
    ],
)
def test_wrong_arguments(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("input", "target", "message"),
    [
        (torch.ones(4, 3), torch.ones(4, 3, dtype=torch.int64), "one-hot target must be floating-point"),
        (torch.ones(4, 3), torch.ones(5, dtype=torch.int64), r"class indices must have shape \(4,\)"),
        (torch.ones(4, 3), torch.ones(4), "probabilities must have the input's shape"),
        (torch.ones(4, 3), torch.ones(4, 3, dtype=torch.float64), "and torch.float32"),
        (torch.ones(4, 3), torch.ones(4, dtype=torch.int32), r"write target.long\(\)"),
    ],
)
def test_wrong_targets(input: Tensor, target: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        nn.CrossEntropyLoss()(input, target)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_class_out_of_range(smoothing: float) -> None:
    with pytest.raises(IndexError, match=r"class 3 is out of bounds.*\(4, 3\).*0 to 2.*ignore_index"):
        nn.CrossEntropyLoss(label_smoothing=smoothing)(torch.ones(4, 3), torch.tensor([0, 1, 3, -100]))


def test_targets_that_would_broadcast() -> None:
    with pytest.raises(ValueError, match=r"\(4, 1\).*\(4,\).*target.reshape"):
        nn.MSELoss()(torch.ones(4, 1), torch.ones(4))


def test_ignored_class_and_probabilities() -> None:
    with pytest.raises(ValueError, match="names a class"):
        nn.CrossEntropyLoss(ignore_index=1)(torch.ones(4, 3), torch.ones(4, 3))

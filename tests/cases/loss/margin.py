"""Rows of the table: losses of the scores of classes, with a term for each sample, that are zero from a margin on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tests.cases.loss.termwise import Make, n, of
from tests.cases.table import PER_CLASS, layer, numbers

NOT_HALF: Any = {"dtypes": (torch.float32,)}  # PyTorch has no kernels for them


def classes(*shape: int) -> Make:
    return lambda: numbers(3, shape)()[0]


def labels(*shape: int) -> Make:
    """The right classes, some twice; after -1 others, which do not count."""

    def make() -> Tensor:
        listed = torch.randint(0, shape[-1], shape)
        listed[..., shape[-1] // 2] = -1
        return listed

    return make


SCORED, LABELLED = of(n(5, 3), classes(5)), of(n(5, 4), labels(5, 4))

CASES = [
    # An empty batch is not here: PyTorch's losses of it are memory as they found it.
    layer("MultiMarginLoss", SCORED, of(n(3), classes()), of(n(3), classes(1)), **NOT_HALF),
    layer("MultiMarginLoss", SCORED, label="sum", reduction="sum", p=2, **NOT_HALF),
    layer("MultiMarginLoss", SCORED, of(n(3), classes()), label="none", reduction="none", margin=0.3, **NOT_HALF),
    layer("MultiMarginLoss", SCORED, label="weight", weight=PER_CLASS, p=2, **NOT_HALF),
    layer("MultiLabelMarginLoss", LABELLED, of(n(4), labels(4)), of(n(4, 3), classes(4, 3)), **NOT_HALF),
    layer("MultiLabelMarginLoss", LABELLED, label="sum", reduction="sum", **NOT_HALF),
    layer("MultiLabelMarginLoss", LABELLED, of(n(4), labels(4)), label="none", reduction="none", **NOT_HALF),
]

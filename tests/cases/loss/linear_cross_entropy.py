"""Rows of the table: linear cross entropy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from modgrad import nn
from tests.cases.table import PER_CLASS, Case, Inputs, scores_and_classes, scores_and_probabilities


class TorchLinearCrossEntropy(torch.nn.Module):
    """PyTorch's LinearCrossEntropyLoss, which there is since PyTorch 2.13, by what it stands for."""

    def __init__(self, in_features: int, num_classes: int, bias: bool = False, **options: Any) -> None:
        super().__init__()
        options.pop("options", None)
        self.classes, self.places = num_classes, options.pop("out_features", ())
        self.linear = torch.nn.Linear(in_features, math.prod(self.places, start=num_classes), bias=bias)
        self.criterion = torch.nn.CrossEntropyLoss(**{k: v for k, v in options.items() if k != "weight"})
        self.register_buffer("weight", options.get("weight"))

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        self.criterion.weight = self.weight
        scores = self.linear(input)
        if self.places:
            scores = scores.reshape(*input.shape[:-1], self.classes, *self.places)
        return self.criterion(scores, target)


def features_and(targets: Callable[[], Inputs], features: int) -> Callable[[], Inputs]:
    """What a linear map would make the scores of `targets` from."""

    def make() -> Inputs:
        scores, target = targets()
        batch = scores.shape[:1] if scores.dim() > 1 else ()
        return torch.randn(*batch, features, dtype=torch.float64), target

    return make


def linear_cross_entropy(
    *inputs: Callable[[], Inputs], label: str = "", empty: Callable[[], Inputs] | None = None, **options: Any
) -> Case:
    return Case(
        name=f"LinearCrossEntropyLoss{'-' if label else ''}{label}",
        make=lambda: nn.LinearCrossEntropyLoss(4, 3, **options),
        make_twin=lambda: TorchLinearCrossEntropy(4, 3, **options),
        inputs=[features_and(make, 4) for make in inputs],
        primitives=("LinearCrossEntropy",),
        empty=None if empty is None else features_and(empty, 4),
        dtypes=(torch.float32,),  # in bfloat16 it rounds less often than PyTorch's two layers do
    )


CASES = [
    linear_cross_entropy(
        scores_and_classes((5, 3)),
        scores_and_classes((5, 3), ignored=True),
        scores_and_probabilities((5, 3)),
        scores_and_classes((3,)),
        scores_and_probabilities((3,)),
    ),
    linear_cross_entropy(
        scores_and_classes((5, 3), ignored=True),
        scores_and_probabilities((5, 3)),
        label="chunks, sum",
        reduction="sum",
        bias=True,
        options=2,
        empty=scores_and_classes((0, 3)),
    ),
    linear_cross_entropy(
        scores_and_classes((5, 3), ignored=True),
        scores_and_probabilities((5, 3)),
        scores_and_classes((3,)),
        label="chunks, none",
        reduction="none",
        bias=True,
        options=2,
    ),
    *(
        linear_cross_entropy(
            scores_and_classes((5, 3), ignored=True),
            scores_and_probabilities((5, 3)),
            label=f"weight, smoothing, {reduction}",
            reduction=reduction,
            weight=PER_CLASS,
            label_smoothing=0.2,
            options=2,
        )
        for reduction in ("mean", "sum", "none")
    ),
    *(
        linear_cross_entropy(
            scores_and_classes((5, 3, 2, 2), ignored=True),
            scores_and_probabilities((5, 3, 2, 2)),
            label=f"further dimensions, {reduction}",
            reduction=reduction,
            out_features=(2, 2),
            bias=True,
            weight=PER_CLASS,
            label_smoothing=0.2,
            options=2,
            empty=empty,
        )
        for reduction, empty in (("mean", None), ("sum", scores_and_classes((0, 3, 2, 2))), ("none", None))
    ),
    linear_cross_entropy(
        scores_and_classes((5, 3)),
        label="kept gradients",
        options=nn.LinearCrossEntropyOptions(allow_retain_graph=True, chunking_method="aspect_ratio:2"),
    ),
    linear_cross_entropy(scores_and_classes((9, 3)), label="class 1 ignored", ignore_index=1, weight=PER_CLASS),
]

"""Rows of the table: loss."""

from __future__ import annotations

import torch

from tests.cases.table import PER_CLASS, layer, scores_and_classes, scores_and_probabilities

CASES = [
    layer(
        "CrossEntropyLoss",
        scores_and_classes((5, 3)),
        scores_and_classes((5, 3), ignored=True),
        scores_and_classes((4,)),
        scores_and_classes((2, 3, 4)),
        scores_and_classes((2, 3, 4, 5), ignored=True),
        scores_and_probabilities((5, 3)),
        scores_and_probabilities((3,)),
        scores_and_probabilities((2, 3, 4)),
    ),
    layer(
        "CrossEntropyLoss",
        scores_and_classes((5, 3), ignored=True),
        scores_and_classes((2, 3, 4, 5)),
        scores_and_probabilities((5, 3)),
        scores_and_classes((4,)),
        label="sum",
        reduction="sum",
        empty=scores_and_classes((0, 3)),
    ),
    layer(
        "CrossEntropyLoss",
        scores_and_classes((5, 3), ignored=True),
        scores_and_classes((2, 3, 4)),
        scores_and_probabilities((5, 3)),
        scores_and_probabilities((3,)),
        scores_and_classes((4,)),
        label="none",
        reduction="none",
    ),
    layer(
        "CrossEntropyLoss",
        scores_and_classes((5, 3), ignored=True),
        scores_and_classes((2, 3, 4)),
        scores_and_classes((2, 3, 4, 5)),
        scores_and_probabilities((5, 3)),
        label="weight",
        weight=PER_CLASS,
        dtypes=(torch.float32,),
    ),
    layer(
        "CrossEntropyLoss",
        scores_and_classes((5, 3), ignored=True),
        scores_and_probabilities((2, 3, 4)),
        label="smoothing",
        weight=PER_CLASS,
        label_smoothing=0.2,
        dtypes=(torch.float32,),
    ),
    layer(
        "CrossEntropyLoss",
        scores_and_classes((9, 3)),
        label="class 1 ignored",
        label_smoothing=0.1,
        ignore_index=1,
        dtypes=(torch.float32,),
    ),
]

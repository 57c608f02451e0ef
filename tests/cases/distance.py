"""Rows of the table: distances and similarities of vectors, and the losses of them."""

from __future__ import annotations

import math
from typing import Any

import torch

from tests.cases.loss.termwise import n, of, reductions, signs
from tests.cases.table import layer, normal

TWO, SHARED = normal((5, 4), (5, 4)), normal((5, 4), (4,))
THREE, NOTHING = normal((5, 4), (5, 4), (5, 4)), normal((0, 4), (0, 4), (0, 4))
VECTORS = of(n(5, 4), n(5, 4), signs(5))
TRIPLET: Any = {"uses": ("PairwiseDistance", "_TripletOfDistances")}
# In bfloat16 two distances may be rounded to the same, and the lesser is another than in PyTorch; and the gradient of a
# cosine is the difference of two vectors that nearly agree, see `tests/nn/test_losses.py`.
EXACTLY: Any = {"dtypes": (torch.float32,)}


def absolute(x1: Any, x2: Any) -> Any:
    return (x1 - x2).abs().sum(-1)


CASES = [
    layer("PairwiseDistance", TWO, SHARED, normal((4,), (1, 4)), normal((), ()), empty=normal((0, 4), (0, 4))),
    *(layer("PairwiseDistance", TWO, SHARED, label=f"p {p}", p=p) for p in (1.0, 3.0, 0.5, 1.5, -1.0)),
    *(layer("PairwiseDistance", TWO, label=f"p {p}", p=p, **EXACTLY) for p in (math.inf, -math.inf)),
    layer("PairwiseDistance", TWO, label="p 0", p=0.0),
    layer("PairwiseDistance", TWO, label="keepdim", keepdim=True, eps=0.1),
    layer("CosineSimilarity", TWO, SHARED, normal((5, 4, 2), (4, 2)), empty=normal((0, 4), (0, 4)), **EXACTLY),
    layer("CosineSimilarity", normal((5, 4), (5, 1)), label="dim", dim=-2, **EXACTLY),
    layer("CosineSimilarity", TWO, label="eps", eps=3.0, **EXACTLY, is_derivative=False),
    *reductions(
        "CosineEmbeddingLoss",
        VECTORS,
        of(n(4), n(4), signs()),
        of(n(5, 4), n(1, 4), signs(1)),
        of(n(1, 4), n(1, 4), signs(5)),
        empty=of(n(0, 4), n(0, 4), signs(0)),
        **EXACTLY,
    ),
    layer("CosineEmbeddingLoss", VECTORS, label="margin", margin=0.2, **EXACTLY),
    *reductions("TripletMarginLoss", THREE, normal((4,), (4,), (4,)), empty=NOTHING, **TRIPLET, **EXACTLY),
    layer("TripletMarginLoss", THREE, label="swap", swap=True, margin=2.0, p=1.0, **TRIPLET, **EXACTLY),
    layer(
        "TripletMarginLoss", normal((5, 4), (1, 4), (5, 4)), label="broadcast", swap=True, eps=0.1, **TRIPLET, **EXACTLY
    ),
    layer("TripletMarginWithDistanceLoss", THREE, label="default", **TRIPLET, **EXACTLY),
    layer(
        "TripletMarginWithDistanceLoss",
        THREE,
        distance_function=absolute,
        margin=3.0,
        swap=True,
        reduction="none",
        uses=("Abs", "_TripletOfDistances"),
        **EXACTLY,
    ),
]

"""`torch.nn.functional` on Variables: losses that are zero from some margin on."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F

from modgrad import nn
from modgrad.graph.dispatch import operator


@operator(F.hinge_embedding_loss)
def _hinge_embedding_loss(
    input: Any,
    target: Any,
    margin: float = 1.0,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
) -> Any:
    return nn.HingeEmbeddingLoss(margin, size_average, reduce, reduction)(input, target)


@operator(F.margin_ranking_loss)
def _margin_ranking_loss(
    input1: Any,
    input2: Any,
    target: Any,
    margin: float = 0,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
) -> Any:
    return nn.MarginRankingLoss(margin, size_average, reduce, reduction)(input1, input2, target)


@operator(F.cosine_embedding_loss)
def _cosine_embedding_loss(
    input1: Any,
    input2: Any,
    target: Any,
    margin: float = 0,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
) -> Any:
    return nn.CosineEmbeddingLoss(margin, size_average, reduce, reduction)(input1, input2, target)


@operator(F.multi_margin_loss)
def _multi_margin_loss(
    input: Any,
    target: Any,
    p: int = 1,
    margin: float = 1.0,
    weight: Any = None,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
) -> Any:
    return nn.MultiMarginLoss(p, margin, weight, size_average, reduce, reduction)(input, target)


@operator(F.multilabel_margin_loss)
def _multilabel_margin_loss(
    input: Any, target: Any, size_average: None = None, reduce: None = None, reduction: str = "mean"
) -> Any:
    return nn.MultiLabelMarginLoss(size_average, reduce, reduction)(input, target)


@operator(F.triplet_margin_loss)
def _triplet_margin_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
) -> Any:
    return nn.TripletMarginLoss(margin, p, eps, swap, size_average, reduce, reduction)(anchor, positive, negative)


@operator(F.triplet_margin_with_distance_loss)
def _triplet_margin_with_distance_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    *,
    distance_function: Any = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Any:
    loss = nn.TripletMarginWithDistanceLoss(
        distance_function=distance_function, margin=margin, swap=swap, reduction=reduction
    )
    return loss(anchor, positive, negative)

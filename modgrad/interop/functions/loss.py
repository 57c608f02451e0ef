"""`torch.nn.functional` on Variables: losses. A weight that the layer would keep as its own is not to be trained."""

from __future__ import annotations

import inspect
from typing import Any

import torch.nn.functional as F

from modgrad import nn
from modgrad.graph.dispatch import operator, wants_gradient
from modgrad.interop.functions.table import of_layer
from modgrad.nn.loss.linear_cross_entropy import LinearCrossEntropy

for _layer, _function in {
    nn.CrossEntropyLoss: F.cross_entropy,
    nn.NLLLoss: F.nll_loss,
    nn.CTCLoss: F.ctc_loss,
    nn.BCELoss: F.binary_cross_entropy,
    nn.BCEWithLogitsLoss: F.binary_cross_entropy_with_logits,
    nn.SoftMarginLoss: F.soft_margin_loss,
    nn.GaussianNLLLoss: F.gaussian_nll_loss,
    nn.KLDivLoss: F.kl_div,
    nn.PoissonNLLLoss: F.poisson_nll_loss,
    nn.CosineEmbeddingLoss: F.cosine_embedding_loss,
    nn.HingeEmbeddingLoss: F.hinge_embedding_loss,
    nn.MarginRankingLoss: F.margin_ranking_loss,
    nn.MultiLabelMarginLoss: F.multilabel_margin_loss,
    nn.MultiMarginLoss: F.multi_margin_loss,
    nn.TripletMarginLoss: F.triplet_margin_loss,
    nn.TripletMarginWithDistanceLoss: F.triplet_margin_with_distance_loss,
    nn.SmoothL1Loss: F.smooth_l1_loss,
}.items():
    of_layer(_layer, _function)


if hasattr(F, "linear_cross_entropy"):  # since PyTorch 2.13

    @operator(F.linear_cross_entropy)
    def _linear_cross_entropy(
        input: Any,
        linear_weight: Any,
        target: Any,
        *,
        linear_bias: Any = None,
        weight: Any = None,
        reduction: str = "mean",
        ignore_index: int | None = None,
        label_smoothing: float = 0.0,
        options: Any = None,
    ) -> Any:
        loss = LinearCrossEntropy(weight, ignore_index, reduction, label_smoothing, options)
        return loss(input, linear_weight, linear_bias, target)


@operator(F.multilabel_soft_margin_loss)
def _multilabel_soft_margin_loss(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
) -> Any:
    if not wants_gradient(weight):
        return nn.MultiLabelSoftMarginLoss(weight, size_average, reduce, reduction)(input, target)
    nn.MultiLabelSoftMarginLoss(None, size_average, reduce, reduction)  # which refuses what it does not know
    terms = (nn.BCEWithLogitsLoss(reduction="none")(input, target) * weight).mean(-1)
    if reduction == "mean":
        return terms.mean()
    return terms.sum() if reduction == "sum" else terms


@operator(F.l1_loss)
def _l1_loss(
    input: Any, target: Any, size_average: None = None, reduce: None = None, reduction: str = "mean", **weight: Any
) -> Any:
    """PyTorch's function takes a weight and, as of 2.13, does not hand it on to who stands in for it."""
    if not weight and "weight" in inspect.signature(F.l1_loss).parameters:
        raise RuntimeError(
            "F.l1_loss: PyTorch does not tell whether it was given a weight, and the loss might be another: write "
            "nn.L1Loss()(input, target), or, with a weight, (weight * (input - target).abs()).sum() / weight.sum()"
        )
    return _weighted(nn.L1Loss(size_average, reduce, reduction), input, target, **weight)


@operator(F.mse_loss)
def _mse_loss(
    input: Any, target: Any, size_average: None = None, reduce: None = None, reduction: str = "mean", weight: Any = None
) -> Any:
    return _weighted(nn.MSELoss(size_average, reduce, reduction), input, target, weight)


@operator(F.huber_loss)
def _huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0, weight: Any = None) -> Any:
    loss = nn.HuberLoss(reduction, delta)
    if weight is None:
        return loss(input, target)
    terms = _weighted_terms(nn.HuberLoss("none", delta), input, target, weight)
    # PyTorch's mean of this one is over the number of values, not over the sum of the weights
    return terms.mean() if reduction == "mean" else _summed(terms, reduction)


def _weighted(loss: Any, input: Any, target: Any, weight: Any = None) -> Any:
    if weight is None:
        return loss(input, target)
    terms = _weighted_terms(type(loss)(reduction="none"), input, target, weight)
    return terms.sum() / weight.sum() if loss.reduction == "mean" else _summed(terms, loss.reduction)


def _weighted_terms(loss: Any, input: Any, target: Any, weight: Any) -> Any:
    if weight.shape != input.shape:
        raise ValueError(
            f"{loss}: input has shape {tuple(input.shape)}, weight {tuple(weight.shape)}; they must be the same: write "
            "weight.expand(input.shape)"
        )
    return loss(input, target) * weight


def _summed(terms: Any, reduction: str) -> Any:
    return terms.sum() if reduction == "sum" else terms

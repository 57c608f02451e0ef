"""`torch.nn.functional` on Variables: losses that are a likelihood or a divergence, of two classes too."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F

from modgrad import nn
from modgrad.graph.dispatch import operator, wants_gradient


@operator(F.poisson_nll_loss)
def _poisson_nll_loss(
    input: Any,
    target: Any,
    log_input: bool = True,
    full: bool = False,
    size_average: None = None,
    eps: float = 1e-8,
    reduce: None = None,
    reduction: str = "mean",
) -> Any:
    return nn.PoissonNLLLoss(log_input, full, size_average, eps, reduce, reduction)(input, target)


@operator(F.gaussian_nll_loss)
def _gaussian_nll_loss(
    input: Any, target: Any, var: Any, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Any:
    return nn.GaussianNLLLoss(full=full, eps=eps, reduction=reduction)(input, target, var)


@operator(F.kl_div)
def _kl_div(
    input: Any,
    target: Any,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Any:
    return nn.KLDivLoss(size_average, reduce, reduction, log_target)(input, target)


@operator(F.binary_cross_entropy)
def _binary_cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
) -> Any:
    return nn.BCELoss(weight, size_average, reduce, reduction)(input, target)


@operator(F.binary_cross_entropy_with_logits)
def _binary_cross_entropy_with_logits(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
    pos_weight: Any = None,
) -> Any:
    return nn.BCEWithLogitsLoss(weight, size_average, reduce, reduction, pos_weight)(input, target)


@operator(F.soft_margin_loss)
def _soft_margin_loss(
    input: Any, target: Any, size_average: None = None, reduce: None = None, reduction: str = "mean"
) -> Any:
    return nn.SoftMarginLoss(size_average, reduce, reduction)(input, target)


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

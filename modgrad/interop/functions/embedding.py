"""`torch.nn.functional` on Variables: embedding."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F

from modgrad import nn
from modgrad.graph.call import is_parameter, is_variable
from modgrad.graph.dispatch import operator


@operator(F.embedding)
def _embedding(
    input: Any,
    weight: Any,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Any:
    rest = padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse
    return _over(nn.Embedding, weight, *rest)(input)


@operator(F.embedding_bag)
def _embedding_bag(
    input: Any,
    weight: Any,
    offsets: Any = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Any = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Any:
    rest = max_norm, norm_type, scale_grad_by_freq, mode, sparse
    last = {"include_last_offset": include_last_offset, "padding_idx": padding_idx}
    return _over(nn.EmbeddingBag, weight, *rest, **last)(input, offsets, per_sample_weights)


def _over(kind: Any, weight: Any, *rest: Any, **named: Any) -> Any:
    """A layer whose weight is the one given: a Parameter, or a tensor that is not to be trained."""
    if is_variable(weight):
        raise RuntimeError(
            f"{kind.__name__}: expected an nn.Parameter as weight; of a Variable take the rows by weight[input]"
        )
    layer = kind(*weight.shape, *rest, _weight=weight.detach(), **named)
    layer.weight = weight if is_parameter(weight) else nn.Parameter(weight, False)
    return layer

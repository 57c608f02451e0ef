"""PyTorch's functions of layers (`torch.nn.functional`), called on Variables: each calls the primitive of its name.

So a model that is written with them is ported without rewriting its forward. Those that are not here raise.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from modgrad import nn
from modgrad.graph.call import is_parameter
from modgrad.graph.dispatch import operator


@operator(F.relu)
def _relu(input: Any, inplace: bool = False) -> Any:
    return nn.ReLU(inplace)(input)


operator(F.tanh)(nn.Tanh())
operator(F.sigmoid)(nn.Sigmoid())


@operator(F.softmax)
def _softmax(input: Any, dim: int | None = None, _stacklevel: int = 3, dtype: torch.dtype | None = None) -> Any:
    return nn.Softmax(dim)(input if dtype is None else input.to(dtype))


@operator(F.log_softmax)
def _log_softmax(input: Any, dim: int | None = None, _stacklevel: int = 3, dtype: torch.dtype | None = None) -> Any:
    return nn.LogSoftmax(dim)(input if dtype is None else input.to(dtype))


@operator(F.linear)
def _linear(input: Any, weight: Any, bias: Any = None) -> Any:
    output = input @ weight.t()
    return output if bias is None else output + bias


@operator(F.max_pool2d, F.max_pool2d_with_indices)
def _max_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    return nn.MaxPool2d(kernel_size, stride, padding, dilation, return_indices, ceil_mode)(input)


@operator(F.adaptive_avg_pool2d)
def _adaptive_avg_pool2d(input: Any, output_size: Any) -> Any:
    return nn.AdaptiveAvgPool2d(output_size)(input)


@operator(F.mse_loss)
def _mse_loss(
    input: Any, target: Any, size_average: None = None, reduce: None = None, reduction: str = "mean", weight: Any = None
) -> Any:
    if weight is not None:
        raise RuntimeError(
            "mse_loss(weight=...) of a Variable is not there in this version: weigh the squares yourself"
        )
    return nn.MSELoss(size_average, reduce, reduction)(input, target)


@operator(F.cross_entropy)
def _cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: None = None,
    ignore_index: int = -100,
    reduce: None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    loss = nn.CrossEntropyLoss(weight, size_average, ignore_index, reduce, reduction, label_smoothing)
    return loss(input, target)


@operator(F.gelu)
def _gelu(input: Any, *, approximate: str = "none") -> Any:
    return nn.GELU(approximate)(input)


@operator(F.layer_norm)
def _layer_norm(
    input: Any,
    normalized_shape: Any,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
) -> Any:
    output = nn.LayerNorm(normalized_shape, eps, elementwise_affine=False)(input)
    if weight is not None:
        output = output * weight
    return output if bias is None else output + bias


@operator(F.dropout)
def _dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    if inplace:
        raise RuntimeError("dropout(inplace=True): a Variable is never changed in place; write x = F.dropout(x, ...)")
    return nn.Dropout(p).train(training)(input)


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
    if not is_parameter(weight):
        raise RuntimeError(
            "embedding: expected an nn.Parameter as weight; of a Variable take the rows by weight[input]"
        )
    rows, columns = weight.shape
    layer = nn.Embedding(
        rows, columns, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse, _weight=weight.data
    )
    layer.weight = weight
    return layer(input)

"""PyTorch's functions of layers (`torch.nn.functional`), called on Variables: each calls the primitive of its name.

So a model that is written with them is ported without rewriting its forward. Those that are not here raise.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from modgrad import nn
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

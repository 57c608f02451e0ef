"""`torch.nn.functional` on Variables: pooling."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from modgrad import nn
from modgrad.graph.dispatch import operator

_torch: Any = torch


def _max_pool(layer: Any) -> Any:
    def max_pool(
        input: Any,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> Any:
        return layer(kernel_size, _given(stride), padding, dilation, return_indices, ceil_mode)(input)

    return max_pool


def _given(stride: Any) -> Any:
    """An empty sequence stands for none, as in PyTorch's own operators."""
    return None if isinstance(stride, (tuple, list)) and not stride else stride


operator(F.max_pool1d, torch.max_pool1d)(_max_pool(nn.MaxPool1d))
operator(F.max_pool2d, _torch.max_pool2d)(_max_pool(nn.MaxPool2d))
operator(F.max_pool3d, _torch.max_pool3d)(_max_pool(nn.MaxPool3d))


def _with_indices(pool: Any) -> Any:
    def max_pool(*args: Any, **kwargs: Any) -> Any:
        return pool(*args, **{**kwargs, "return_indices": True})

    return max_pool


operator(F.max_pool1d_with_indices, _torch.max_pool1d_with_indices)(_with_indices(_max_pool(nn.MaxPool1d)))
operator(F.max_pool2d_with_indices)(_with_indices(_max_pool(nn.MaxPool2d)))
operator(F.max_pool3d_with_indices)(_with_indices(_max_pool(nn.MaxPool3d)))


def _max_unpool(layer: Any) -> Any:
    def max_unpool(
        input: Any, indices: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Any = None
    ) -> Any:
        return layer(kernel_size, stride, padding)(input, indices, output_size)

    return max_unpool


operator(F.max_unpool1d)(_max_unpool(nn.MaxUnpool1d))
operator(F.max_unpool2d)(_max_unpool(nn.MaxUnpool2d))
operator(F.max_unpool3d)(_max_unpool(nn.MaxUnpool3d))


@operator(F.avg_pool1d)
def _avg_pool1d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Any:
    return nn.AvgPool1d(kernel_size, _given(stride), padding, ceil_mode, count_include_pad)(input)


def _avg_pool(layer: Any) -> Any:
    def avg_pool(
        input: Any,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> Any:
        return layer(kernel_size, _given(stride), padding, ceil_mode, count_include_pad, divisor_override)(input)

    return avg_pool


operator(F.avg_pool2d)(_avg_pool(nn.AvgPool2d))
operator(F.avg_pool3d)(_avg_pool(nn.AvgPool3d))


def _adaptive_avg_pool(layer: Any) -> Any:
    return lambda input, output_size: layer(output_size)(input)


operator(F.adaptive_avg_pool1d)(_adaptive_avg_pool(nn.AdaptiveAvgPool1d))
operator(F.adaptive_avg_pool2d)(_adaptive_avg_pool(nn.AdaptiveAvgPool2d))
operator(F.adaptive_avg_pool3d)(_adaptive_avg_pool(nn.AdaptiveAvgPool3d))


def _adaptive_max_pool(layer: Any) -> Any:
    return lambda input, output_size, return_indices=False: layer(output_size, return_indices)(input)


operator(F.adaptive_max_pool1d)(_adaptive_max_pool(nn.AdaptiveMaxPool1d))
operator(F.adaptive_max_pool2d)(_adaptive_max_pool(nn.AdaptiveMaxPool2d))
operator(F.adaptive_max_pool3d)(_adaptive_max_pool(nn.AdaptiveMaxPool3d))
operator(F.adaptive_max_pool1d_with_indices, torch.adaptive_max_pool1d)(
    _with_indices(_adaptive_max_pool(nn.AdaptiveMaxPool1d))
)
operator(F.adaptive_max_pool2d_with_indices)(_with_indices(_adaptive_max_pool(nn.AdaptiveMaxPool2d)))
operator(F.adaptive_max_pool3d_with_indices)(_with_indices(_adaptive_max_pool(nn.AdaptiveMaxPool3d)))


def _lp_pool(layer: Any) -> Any:
    return lambda input, norm_type, kernel_size, stride=None, ceil_mode=False: layer(
        norm_type, kernel_size, stride, ceil_mode
    )(input)


operator(F.lp_pool1d)(_lp_pool(nn.LPPool1d))
operator(F.lp_pool2d)(_lp_pool(nn.LPPool2d))
operator(F.lp_pool3d)(_lp_pool(nn.LPPool3d))


def _fractional_max_pool(layer: Any) -> Any:
    def fractional_max_pool(
        input: Any,
        kernel_size: Any,
        output_size: Any = None,
        output_ratio: Any = None,
        return_indices: bool = False,
        _random_samples: Any = None,
    ) -> Any:
        return layer(kernel_size, output_size, output_ratio, return_indices, _random_samples)(input)

    return fractional_max_pool


operator(F.fractional_max_pool2d)(_fractional_max_pool(nn.FractionalMaxPool2d))
operator(F.fractional_max_pool3d)(_fractional_max_pool(nn.FractionalMaxPool3d))
operator(F.fractional_max_pool2d_with_indices)(_with_indices(_fractional_max_pool(nn.FractionalMaxPool2d)))
operator(F.fractional_max_pool3d_with_indices)(_with_indices(_fractional_max_pool(nn.FractionalMaxPool3d)))

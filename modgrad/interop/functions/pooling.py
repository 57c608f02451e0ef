"""`torch.nn.functional` on Variables: pooling."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from modgrad import nn
from modgrad.interop.functions.table import of_layer

_torch: Any = torch

# layer, the functions that give indices too if they are asked to, those that always do
for _layer, _asked, _always in [
    (nn.MaxPool1d, [F.max_pool1d, torch.max_pool1d], [F.max_pool1d_with_indices, _torch.max_pool1d_with_indices]),
    (nn.MaxPool2d, [F.max_pool2d, _torch.max_pool2d], [F.max_pool2d_with_indices]),
    (nn.MaxPool3d, [F.max_pool3d, _torch.max_pool3d], [F.max_pool3d_with_indices]),
    (
        nn.AdaptiveMaxPool1d,
        [F.adaptive_max_pool1d],
        [F.adaptive_max_pool1d_with_indices, torch.adaptive_max_pool1d],
    ),
    (nn.AdaptiveMaxPool2d, [F.adaptive_max_pool2d], [F.adaptive_max_pool2d_with_indices]),
    (nn.AdaptiveMaxPool3d, [F.adaptive_max_pool3d], [F.adaptive_max_pool3d_with_indices]),
    (nn.FractionalMaxPool2d, [F.fractional_max_pool2d], [F.fractional_max_pool2d_with_indices]),
    (nn.FractionalMaxPool3d, [F.fractional_max_pool3d], [F.fractional_max_pool3d_with_indices]),
]:
    of_layer(_layer, *_asked, like=_always[0])  # as they do not tell their own arguments
    of_layer(_layer, *_always, return_indices=True)

for _layer, _function in {
    nn.MaxUnpool1d: F.max_unpool1d,
    nn.MaxUnpool2d: F.max_unpool2d,
    nn.MaxUnpool3d: F.max_unpool3d,
    nn.AdaptiveAvgPool2d: F.adaptive_avg_pool2d,
    nn.AdaptiveAvgPool3d: F.adaptive_avg_pool3d,
    nn.LPPool1d: F.lp_pool1d,
    nn.LPPool2d: F.lp_pool2d,
    nn.LPPool3d: F.lp_pool3d,
}.items():
    of_layer(_layer, _function)

_window = "input kernel_size stride padding ceil_mode count_include_pad"
of_layer(nn.AvgPool1d, F.avg_pool1d, like=_window)
of_layer(nn.AvgPool2d, F.avg_pool2d, like=f"{_window} divisor_override")
of_layer(nn.AvgPool3d, F.avg_pool3d, like=f"{_window} divisor_override")
of_layer(nn.AdaptiveAvgPool1d, F.adaptive_avg_pool1d, like="input output_size")

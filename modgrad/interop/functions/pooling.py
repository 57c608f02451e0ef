"""`torch.nn.functional` on Variables: pooling."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F

from modgrad import nn
from modgrad.graph.dispatch import operator


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

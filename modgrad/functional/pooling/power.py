"""Power-average pooling: y = (sum of x^p over each window)^(1/p).   Sermanet et al. 2012."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from modgrad.functional.pooling.average import avg_pool, avg_pool_backward
from modgrad.functional.pooling.shapes import Sizes

__all__ = ["lp_pool", "lp_pool_backward"]


def lp_pool(input: Tensor, p: float, kernel_size: Sizes, stride: Sizes, ceil_mode: bool) -> Tensor:
    """y = (k mean(x^p))^(1/p), the mean over a window, k the size of a whole one.

    With ceil_mode a window that reaches over the end is so made up for what it lacks.
    """
    none = (0,) * len(kernel_size)
    powers = avg_pool(input**p, kernel_size, stride, none, ceil_mode, count_include_pad=True)
    return (powers * math.prod(kernel_size)) ** (1 / p)


def lp_pool_backward(
    grad: Tensor, input: Tensor, output: Tensor, p: float, kernel_size: Sizes, stride: Sizes, ceil_mode: bool
) -> Tensor:
    """dL/dx = x^(p-1) A^T (g k y^(1-p)), with A^T the derivative of average pooling; where the sum of powers is 0, 0.

    For s = k mean(x^p) and y = s^(1/p): dy/ds = s^(1/p - 1) / p = y^(1-p) / p, and ds/dx = p x^(p-1) k / n.
    grad, output: alike.
    """
    none = (0,) * len(kernel_size)
    nothing = output == 0 if p > 0 else torch.isinf(output)  # a sum of 0, where the root has no slope
    if p == 1:  # whose power of 0 makes 1 of what is not a number
        nothing = nothing | torch.isnan(output)
    slope = torch.where(nothing, torch.zeros_like(output), output ** (1 - p))
    windows = kernel_size, stride, none, ceil_mode, True
    through = avg_pool_backward(grad * slope * math.prod(kernel_size), input.shape, *windows)
    return through * input ** (p - 1)

"""Local response normalization, Krizhevsky et al. 2012, section 3.3.   Shapes: input (N, C, ...)."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["local_response_norm", "local_response_norm_backward"]


def local_response_norm(input: Tensor, size: int, alpha: float, beta: float, k: float) -> Tensor:
    """y_c = x_c / d_c^beta, with d_c = k + alpha / size * sum of x_j^2 over `size` channels j around c.

    These are c - size // 2 to c + (size - 1) // 2, as far as they are there.
    """
    return input / _divisor(input, size, alpha, k) ** beta


def local_response_norm_backward(grad: Tensor, input: Tensor, size: int, alpha: float, beta: float, k: float) -> Tensor:
    """dL/dx_j = g_j d_j^-beta - 2 alpha beta / size * x_j * sum of g_c x_c d_c^(-beta - 1) over c around which j is.

    For dd_c/dx_j = 2 alpha / size * x_j, and y_c = x_c d_c^-beta.   grad, input: alike.
    """
    divisor = _divisor(input, size, alpha, k)
    direct = grad / divisor**beta
    shared = _summed(direct * input / divisor, (size - 1) // 2, size // 2)
    return direct - 2 * alpha * beta / size * input * shared


def _divisor(input: Tensor, size: int, alpha: float, k: float) -> Tensor:
    return _summed(input * input, size // 2, (size - 1) // 2) * (alpha / size) + k


def _summed(values: Tensor, before: int, after: int) -> Tensor:
    """Of each channel and those up to `before` before it and `after` after it, the sum."""
    channels = values.shape[1]
    n, _, *rest = values.shape
    padded = torch.cat([values.new_zeros(n, before, *rest), values, values.new_zeros(n, after, *rest)], 1)
    total = padded[:, :channels]
    for start in range(1, before + after + 1):
        total = total + padded[:, start : start + channels]
    return total

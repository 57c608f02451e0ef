"""Group normalization, Wu & He 2018.

Shapes: input (N, C, ...), of whose channels C / num_groups after one another make a group; weight and bias (C); mean
and scale (N, num_groups).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from modgrad.functional.kernel import direct, kernel

__all__ = ["group_norm", "group_norm_backward"]

Wanted = tuple[Tensor | None, Tensor | None, Tensor | None]
_group_norm = direct(torch.ops.aten.native_group_norm.default)
_backward = direct(torch.ops.aten.native_group_norm_backward.default)


def _dense(values: Tensor, like: Tensor) -> Tensor:
    """`values` in the order of memory that the kernels read: channels last on the CPU, where `like` is so."""
    if like.dim() == 4 and like.device.type == "cpu" and like.is_contiguous(memory_format=torch.channels_last):
        return values.contiguous(memory_format=torch.channels_last)
    return values.contiguous()


def _sizes(input: Tensor) -> tuple[int, int, int]:
    """N, C, and how many values a channel has."""
    return input.shape[0], input.shape[1], math.prod(input.shape[2:])


def _group_norm_kernel(
    input: Tensor, num_groups: int, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    return _group_norm(_dense(input, input), weight, bias, *_sizes(input), num_groups, eps)


@kernel(_group_norm_kernel)
def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """y = (x - m) r w + b, with the mean m and variance v of each sample's each group, and r = 1 / sqrt(v + eps).

    Returns y, m, r.
    """
    groups = _in_groups(input, num_groups)
    mean = groups.mean(2, keepdim=True)
    variance = ((groups - mean) ** 2).mean(2, keepdim=True)
    scale = torch.rsqrt(variance + eps)
    output = ((groups - mean) * scale).reshape(input.shape)
    if weight is not None:
        output = output * _channels(weight, input)
    if bias is not None:
        output = output + _channels(bias, input)
    return output, mean.squeeze(2), scale.squeeze(2)


def _group_norm_backward_kernel(
    grad: Tensor,
    input: Tensor,
    mean: Tensor,
    scale: Tensor,
    weight: Tensor | None,
    wanted: Sequence[bool] = (True, True, True),
) -> Wanted:
    if input.numel() == 0:  # of which the kernel gives sums that are not numbers
        return NotImplemented
    # Without a weight the kernel knows no kind for the other gradients.
    mask = list(wanted) if weight is not None else [wanted[0], False, False]
    first = second = third = None
    if any(mask):
        first, second, third = _backward(
            *(_dense(grad, input), _dense(input, input), mean, scale, weight),
            *(*_sizes(input), mean.shape[1], mask),
        )
    if weight is None and wanted[2]:
        third = grad.sum([0, *range(2, grad.dim())])
    return first if wanted[0] else None, second if wanted[1] else None, third if wanted[2] else None


@kernel(_group_norm_backward_kernel)
def group_norm_backward(
    grad: Tensor,
    input: Tensor,
    mean: Tensor,
    scale: Tensor,
    weight: Tensor | None,
    wanted: Sequence[bool] = (True, True, True),
) -> Wanted:
    """With z = (x - m) r, the normalised input, g = dL/dy and h = w g = dL/dz; m and r depend on x:

    dL/db = sum g
    dL/dw = sum g z
    dL/dx = r (h - mean(h) - z mean(h z))    means over a sample's group, as in layer normalization
    """
    num_groups = mean.shape[1]
    r = scale.unsqueeze(2)
    z = (_in_groups(input, num_groups) - mean.unsqueeze(2)) * r
    grad_input = grad_weight = grad_bias = None
    if wanted[0]:
        h = _in_groups(grad if weight is None else grad * _channels(weight, grad), num_groups)
        grad_groups = r * (h - h.mean(2, keepdim=True) - z * (h * z).mean(2, keepdim=True))
        grad_input = grad_groups.reshape(input.shape)
    rest = [0, *range(2, input.dim())]
    if wanted[1]:
        grad_weight = (grad * z.reshape(input.shape)).sum(rest)
    if wanted[2]:
        grad_bias = grad.sum(rest)
    return grad_input, grad_weight, grad_bias


def _in_groups(input: Tensor, num_groups: int) -> Tensor:
    """(N, num_groups, values of a group)."""
    n, channels, size = _sizes(input)
    return input.reshape(n, num_groups, channels // num_groups * size)


def _channels(values: Tensor, input: Tensor) -> Tensor:
    """`values` (C), shaped to broadcast over input (N, C, ...)."""
    return values.reshape(1, -1, *[1] * (input.dim() - 2))

"""Two-dimensional convolution, with its three derivatives apart.

Shapes: input (N, C, H, W), weight (O, C / groups, KH, KW), output (N, O, OH, OW);
stride, padding and dilation are pairs (vertical, horizontal).
"""

from __future__ import annotations

import torch
from torch import Tensor

from modgrad.functional.kernel import kernel

__all__ = ["conv2d", "conv2d_grad_bias", "conv2d_grad_input", "conv2d_grad_weight"]

Pair = tuple[int, int]
_convolution_backward = torch.ops.aten.convolution_backward.default


def conv2d(
    input: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> Tensor:
    """y[n,o,i,j] = b[o] + sum_{c,u,v} w[o,c,u,v] x[n, c, i s + u d - p, j s + v d - p].   LeCun et al. 1989."""
    return torch.conv2d(input, weight, bias, stride, padding, dilation, groups)


def _one(mask: tuple[bool, bool, bool], grad: Tensor, input: Tensor, weight: Tensor, *options: object) -> Tensor:
    """The one of (input's, weight's, bias's) gradients that `mask` picks, from ATen's kernel for all three."""
    stride, padding, dilation, groups = options
    gradients = _convolution_backward(
        grad, input, weight, None, stride, padding, dilation, False, [0, 0], groups, list(mask)
    )
    return gradients[mask.index(True)]


def _grad_input_kernel(
    grad: Tensor, input_shape: torch.Size, weight: Tensor, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> Tensor:
    shape_only = grad.new_empty(1).expand(input_shape)  # the kernel reads no value of it
    return _one((True, False, False), grad, shape_only, weight, stride, padding, dilation, groups)


@kernel(_grad_input_kernel)
def conv2d_grad_input(
    grad: Tensor, input_shape: torch.Size, weight: Tensor, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> Tensor:
    """dL/dx: each output's gradient put back, times w, on the places it was made from (a transposed convolution).

    Rows of x beyond the last place that the kernel reached get no gradient, hence the output padding.
    """
    unreached = [
        size - ((out - 1) * s - 2 * p + d * (k - 1) + 1)
        for size, out, s, p, d, k in zip(
            input_shape[2:], grad.shape[2:], stride, padding, dilation, weight.shape[2:], strict=True
        )
    ]
    # A transposed convolution takes an output padding below the stride or the dilation only; the rest is zeros.
    allowed = [min(u, max(s, d) - 1) for u, s, d in zip(unreached, stride, dilation, strict=True)]
    grad_input = torch.conv_transpose2d(grad, weight, None, stride, padding, allowed, groups, dilation)
    rest = [u - a for u, a in zip(unreached, allowed, strict=True)]
    return torch.constant_pad_nd(grad_input, [0, rest[1], 0, rest[0]]) if any(rest) else grad_input


@kernel(
    lambda grad, input, weight_shape, *options: _one(
        (False, True, False), grad, input, grad.new_empty(1).expand(weight_shape), *options
    )
)
def conv2d_grad_weight(
    grad: Tensor, input: Tensor, weight_shape: torch.Size, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> Tensor:
    """dL/dw[o,c,u,v] = sum_{n,i,j} dL/dy[n,o,i,j] x[n, c, i s + u d - p, ...]: a convolution of x with dL/dy.

    There samples play the channels, so that they are summed over, and stride and dilation change places.
    """
    n, channels = input.shape[:2]
    if n == 0:  # a convolution has no result without channels
        return grad.new_zeros(weight_shape)
    out_channels = grad.shape[1]
    # Each (group, channel in it) is convolved with the gradients of its group's output channels.
    images = input.reshape(n, groups, channels // groups, *input.shape[2:])
    images = images.permute(2, 1, 0, 3, 4).reshape(channels // groups, groups * n, *input.shape[2:])
    kernels = grad.transpose(0, 1)  # (O, N, OH, OW)
    found = torch.conv2d(images, kernels, None, dilation, padding, stride, groups)  # (C / groups, O, >= KH, >= KW)
    found = found[:, :, : weight_shape[2], : weight_shape[3]]
    return found.transpose(0, 1).reshape(out_channels, channels // groups, *weight_shape[2:])


def conv2d_grad_bias(grad: Tensor) -> Tensor:
    """dL/db[o] = sum_{n,i,j} dL/dy[n,o,i,j]."""
    return grad.sum((0, 2, 3))

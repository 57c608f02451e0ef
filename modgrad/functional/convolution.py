"""Convolution and transposed convolution in one, two and three dimensions, with their derivatives apart.

Shapes: input (N, C, *), weight (O, C / groups, *), output (N, O, *), where * are the 1 to 3 dimensions of space;
stride, padding, dilation and output padding have a number for each of them. A transposed convolution takes the weight
of the convolution that goes the other way: weight (C, O / groups, *). Each is the other's derivative towards the input.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from modgrad.functional.kernel import kernel
from modgrad.functional.memory import order, unwritten

__all__ = [
    "convolution",
    "convolution_grad_bias",
    "convolution_grad_input",
    "convolution_grad_weight",
    "transposed_convolution",
    "transposed_convolution_grad_input",
    "transposed_convolution_grad_weight",
]

Numbers = Sequence[int]  # one for each dimension of space
_torch: Any = torch
# By the number of dimensions of input and weight.
_CONVOLUTION = {3: _torch.conv1d, 4: _torch.conv2d, 5: _torch.conv3d}
_TRANSPOSED = {3: _torch.conv_transpose1d, 4: _torch.conv_transpose2d, 5: _torch.conv_transpose3d}
_convolution_backward = torch.ops.aten.convolution_backward.default
_INPUT, _WEIGHT = (True, False, False), (False, True, False)  # which gradients the kernel is to give


def convolution(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Numbers,
    padding: Numbers,
    dilation: Numbers,
    groups: int,
) -> Tensor:
    """y[n,o,i] = b[o] + sum_{c,u} w[o,c,u] x[n, c, i stride + u dilation - padding], i and u going over all of space.

    LeCun et al. 1989.
    """
    output: Tensor = _CONVOLUTION[weight.dim()](input, weight, bias, stride, padding, dilation, groups)
    return output


def _unread(shape: torch.Size, grad: Tensor, other: Tensor) -> Tensor:
    """Stands where the kernel asks for a tensor and reads nothing of it but the shape.

    It is a whole one, as the kernel makes a copy of what has not the order of memory in which it computes.
    """
    return unwritten(shape, grad, order(grad, other))


def _grad_input_kernel(
    grad: Tensor,
    input_shape: torch.Size,
    weight: Tensor,
    stride: Numbers,
    padding: Numbers,
    dilation: Numbers,
    groups: int,
) -> Tensor:
    input, none = _unread(input_shape, grad, weight), [0] * len(stride)
    options = stride, padding, dilation, False, none, groups
    return _convolution_backward(grad, input, weight, None, *options, _INPUT)[0]


@kernel(_grad_input_kernel)
def convolution_grad_input(
    grad: Tensor,
    input_shape: torch.Size,
    weight: Tensor,
    stride: Numbers,
    padding: Numbers,
    dilation: Numbers,
    groups: int,
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
    grad_input = transposed_convolution(grad, weight, None, stride, padding, dilation, groups, allowed)
    rest = [u - a for u, a in zip(unreached, allowed, strict=True)]
    if not any(rest):
        return grad_input
    return torch.constant_pad_nd(grad_input, [pad for r in reversed(rest) for pad in (0, r)])


def _grad_weight_kernel(
    grad: Tensor,
    input: Tensor,
    weight_shape: torch.Size,
    stride: Numbers,
    padding: Numbers,
    dilation: Numbers,
    groups: int,
) -> Tensor:
    weight, none = _unread(weight_shape, grad, input), [0] * len(stride)
    options = stride, padding, dilation, False, none, groups
    return _convolution_backward(grad, input, weight, None, *options, _WEIGHT)[1]


@kernel(_grad_weight_kernel)
def convolution_grad_weight(
    grad: Tensor,
    input: Tensor,
    weight_shape: torch.Size,
    stride: Numbers,
    padding: Numbers,
    dilation: Numbers,
    groups: int,
) -> Tensor:
    """dL/dw[o,c,u] = sum_{n,i} dL/dy[n,o,i] x[n, c, i stride + u dilation - padding]: a convolution of x with dL/dy.

    There samples play the channels, so that they are summed over, and stride and dilation change places.
    """
    return _correlation(grad, input, weight_shape, stride, padding, dilation, groups)


def _correlation(
    coarse: Tensor,
    fine: Tensor,
    weight_shape: torch.Size,
    stride: Numbers,
    padding: Numbers,
    dilation: Numbers,
    groups: int,
) -> Tensor:
    """sum_{n,i} coarse[n,o,i] fine[n, c, i stride + u dilation - padding], for o and c of the same group."""
    n, channels, *space = fine.shape
    if n == 0:  # a convolution has no result without channels
        return coarse.new_zeros(weight_shape)
    in_group = channels // groups
    # Each (group, channel in it) is convolved with the coarse channels of its group.
    images = fine.reshape(n, groups, in_group, *space).transpose(0, 2).reshape(in_group, groups * n, *space)
    kernels = coarse.transpose(0, 1)  # (O, N, *)
    found = convolution(images, kernels, None, dilation, padding, stride, groups)  # (C / groups, O, *), or larger
    for d, size in enumerate(weight_shape[2:], 2):
        found = found.narrow(d, 0, size)
    return found.transpose(0, 1).reshape(weight_shape)


def convolution_grad_bias(grad: Tensor) -> Tensor:
    """dL/db[o] = sum_{n,i} dL/dy[n,o,i]. Of a transposed convolution too."""
    return grad.sum((0, *range(2, grad.dim())))


def transposed_convolution(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Numbers,
    padding: Numbers,
    dilation: Numbers,
    groups: int,
    output_padding: Numbers,
) -> Tensor:
    """y[n,o,j] = b[o] + sum_{c,i,u: i stride + u dilation - padding = j} w[c,o,u] x[n,c,i].

    The convolution of y with the same weight has the shape of x; output_padding is how many more places y has at its
    far end than the smallest of that kind.   Zeiler et al. 2010, section 2.
    """
    function = _TRANSPOSED[weight.dim()]
    output: Tensor = function(input, weight, bias, stride, padding, output_padding, groups, dilation)
    return output


def _transposed_grad_input_kernel(
    grad: Tensor,
    input_shape: torch.Size,
    weight: Tensor,
    stride: Numbers,
    padding: Numbers,
    dilation: Numbers,
    groups: int,
    output_padding: Numbers,
) -> Tensor:
    options = stride, padding, dilation, True, output_padding, groups
    return _convolution_backward(grad, _unread(input_shape, grad, weight), weight, None, *options, _INPUT)[0]


@kernel(_transposed_grad_input_kernel)
def transposed_convolution_grad_input(
    grad: Tensor,
    input_shape: torch.Size,
    weight: Tensor,
    stride: Numbers,
    padding: Numbers,
    dilation: Numbers,
    groups: int,
    output_padding: Numbers,
) -> Tensor:
    """dL/dx[n,c,i] = sum_{o,u} w[c,o,u] dL/dy[n, o, i stride + u dilation - padding]: a convolution of dL/dy.

    An output padding of a stride or more has places for more than x had.
    """
    grad_input = convolution(grad, weight, None, stride, padding, dilation, groups)
    for d, size in enumerate(input_shape[2:], 2):
        grad_input = grad_input.narrow(d, 0, size)
    return grad_input


def _transposed_grad_weight_kernel(
    grad: Tensor,
    input: Tensor,
    weight_shape: torch.Size,
    stride: Numbers,
    padding: Numbers,
    dilation: Numbers,
    groups: int,
    output_padding: Numbers,
) -> Tensor:
    options = stride, padding, dilation, True, output_padding, groups
    return _convolution_backward(grad, input, _unread(weight_shape, grad, input), None, *options, _WEIGHT)[1]


@kernel(_transposed_grad_weight_kernel)
def transposed_convolution_grad_weight(
    grad: Tensor,
    input: Tensor,
    weight_shape: torch.Size,
    stride: Numbers,
    padding: Numbers,
    dilation: Numbers,
    groups: int,
    output_padding: Numbers,
) -> Tensor:
    """dL/dw[c,o,u] = sum_{n,i} x[n,c,i] dL/dy[n, o, i stride + u dilation - padding].

    What it is for the convolution that goes the other way, x and dL/dy in each other's place.
    """
    return _correlation(input, grad, weight_shape, stride, padding, dilation, groups)

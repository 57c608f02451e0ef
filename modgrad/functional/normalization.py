"""Normalizations, each with its derivatives. Gradients come as a triple: of the input, the weight, the bias.

Batch normalization, Ioffe & Szegedy 2015. Shapes: input (N, C, ...), one mean, variance, weight and bias for each
channel (C). Means and sums are over every dimension but the channels'.

Layer normalization, Ba et al. 2016. Shapes: input (..., *S), where S is `shape`, the dimensions that means are over;
weight and bias S; mean and scale (..., 1, ...), with ones in place of S.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from modgrad.functional.kernel import direct, kernel

__all__ = [
    "batch_norm",
    "batch_norm_apply",
    "batch_norm_apply_backward",
    "batch_norm_backward",
    "layer_norm",
    "layer_norm_backward",
]

Three = tuple[Tensor, Tensor, Tensor]
Wanted = tuple[Tensor | None, Tensor | None, Tensor | None]
_backward = torch.ops.aten.native_batch_norm_backward.default
_layer_norm_backward = direct(torch.ops.aten.native_layer_norm_backward.default)


def _batch_norm_kernel(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    like = input if weight is None else weight
    mean, variance = like.new_zeros(input.shape[1]), like.new_ones(input.shape[1])
    # With a momentum of 1 the kernel leaves this batch's statistics where it would update the running ones.
    output, save_mean, scale = torch.native_batch_norm(input, weight, bias, mean, variance, True, 1.0, eps)
    return output, save_mean, scale, variance


@kernel(_batch_norm_kernel)
def batch_norm(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """y = (x - m) r w + b, with the batch's own mean m, variance v and r = 1 / sqrt(v + eps).

    Returns y, m (C), r (C), and for running statistics the unbiased variance (C): v n / (n - 1), n values a channel.
    """
    dims, count = _reduced(input)
    mean = input.mean(dims)
    variance = ((input - _channels(mean, input)) ** 2).mean(dims)
    scale = torch.rsqrt(variance + eps)
    output = _affine((input - _channels(mean, input)) * _channels(scale, input), weight, bias)
    return output, mean, scale, variance * (count / max(count - 1, 1))


def _batch_norm_backward_kernel(
    grad: Tensor, input: Tensor, mean: Tensor, scale: Tensor, weight: Tensor | None
) -> Three:
    # With the batch's own statistics eps is within the scale.
    return _backward(grad, input, weight, None, None, mean, scale, True, 0.0, [True, True, True])


@kernel(_batch_norm_backward_kernel)
def batch_norm_backward(grad: Tensor, input: Tensor, mean: Tensor, scale: Tensor, weight: Tensor | None) -> Three:
    """With z = (x - m) r, the normalised input, and g = dL/dy; m and r depend on x:

    dL/db = sum g
    dL/dw = sum g z
    dL/dx = r w (g - mean(g) - z mean(g z))
    """
    dims, count = _reduced(input)
    z = (input - _channels(mean, input)) * _channels(scale, input)
    grad_bias = grad.sum(dims)
    grad_weight = (grad * z).sum(dims)
    centred = grad - _channels(grad_bias / count, input) - z * _channels(grad_weight / count, input)
    return _affine(centred * _channels(scale, input), weight, None), grad_weight, grad_bias


@kernel(
    lambda input, mean, variance, weight, bias, eps: torch.native_batch_norm(
        input, weight, bias, mean, variance, False, 0.0, eps
    )[0]
)
def batch_norm_apply(
    input: Tensor, mean: Tensor, variance: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    """y = (x - m) / sqrt(v + eps) w + b, with a given mean m and variance v, as in evaluation."""
    scale = torch.rsqrt(variance + eps)
    return _affine((input - _channels(mean, input)) * _channels(scale, input), weight, bias)


def _batch_norm_apply_backward_kernel(
    grad: Tensor, input: Tensor, mean: Tensor, variance: Tensor, weight: Tensor | None, eps: float
) -> Three:
    if input.numel() == 0:  # the kernel dies of it
        return batch_norm_apply_backward.formula(  # type: ignore[attr-defined]
            grad, input, mean, variance, weight, eps
        )
    return _backward(grad, input, weight, mean, variance, None, None, False, eps, [True, True, True])


@kernel(_batch_norm_apply_backward_kernel)
def batch_norm_apply_backward(
    grad: Tensor, input: Tensor, mean: Tensor, variance: Tensor, weight: Tensor | None, eps: float
) -> Three:
    """With r = 1 / sqrt(v + eps), z = (x - m) r and g = dL/dy; m and v are constants:

    dL/db = sum g
    dL/dw = sum g z
    dL/dx = r w g
    """
    dims, _ = _reduced(input)
    scale = torch.rsqrt(variance + eps)
    z = (input - _channels(mean, input)) * _channels(scale, input)
    grad_input = _affine(grad * _channels(scale, input), weight, None)
    return grad_input, (grad * z).sum(dims), grad.sum(dims)


def _reduced(input: Tensor) -> tuple[list[int], int]:
    """The dimensions that statistics are taken over, and how many values that is for each channel."""
    dims = [0, *range(2, input.dim())]
    return dims, math.prod(input.shape[d] for d in dims)


def _channels(values: Tensor, input: Tensor) -> Tensor:
    """`values` (C), shaped to broadcast over input (N, C, ...)."""
    return values.reshape(1, -1, *[1] * (input.dim() - 2))


def _affine(output: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    if weight is not None:
        output = output * _channels(weight, output)
    return output if bias is None else output + _channels(bias, output)


@kernel(lambda input, shape, weight, bias, eps: torch.native_layer_norm(input, shape, weight, bias, eps))
def layer_norm(
    input: Tensor, shape: Sequence[int], weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """y = (x - m) r w + b, with the mean m and variance v over the dimensions of `shape`, and r = 1 / sqrt(v + eps).

    Returns y, m, r.
    """
    dims = list(range(-len(shape), 0))
    mean = input.mean(dims, keepdim=True)
    variance = ((input - mean) ** 2).mean(dims, keepdim=True)
    scale = torch.rsqrt(variance + eps)
    output = (input - mean) * scale
    if weight is not None:
        output = output * weight
    return output if bias is None else output + bias, mean, scale


def _layer_norm_backward_kernel(
    grad: Tensor,
    input: Tensor,
    shape: Sequence[int],
    mean: Tensor,
    scale: Tensor,
    weight: Tensor | None,
    wanted: Sequence[bool] = (True, True, True),
) -> Wanted:
    # The kernel asks for a bias only to know of what kind its gradient is to be: the weight's.
    return _layer_norm_backward(grad, input, shape, mean, scale, weight, weight, list(wanted))


@kernel(_layer_norm_backward_kernel)
def layer_norm_backward(
    grad: Tensor,
    input: Tensor,
    shape: Sequence[int],
    mean: Tensor,
    scale: Tensor,
    weight: Tensor | None,
    wanted: Sequence[bool] = (True, True, True),
) -> Wanted:
    """With z = (x - m) r, the normalised input, g = dL/dy and h = w g = dL/dz; m and r depend on x:

    dL/db = sum g      over all dimensions but those of S
    dL/dw = sum g z    likewise
    dL/dx = r (h - mean(h) - z mean(h z))    means over the dimensions of S

    For dm/dx_i = 1/n and dr/dx_i = -r^2 z_i / n, so dz_j/dx_i = r (1[i = j] - 1/n - z_i z_j / n).
    wanted: which of the three to give, of the input, the weight, the bias; None for the others.
    """
    inner = list(range(-len(shape), 0))
    outer = list(range(input.dim() - len(shape)))
    z = (input - mean) * scale
    grad_input = grad_weight = grad_bias = None
    if wanted[0]:
        h = grad if weight is None else grad * weight
        grad_input = scale * (h - h.mean(inner, keepdim=True) - z * (h * z).mean(inner, keepdim=True))
    if wanted[1]:
        grad_weight = (grad * z).sum(outer) if outer else grad * z
    if wanted[2]:
        grad_bias = grad.sum(outer) if outer else grad.clone()
    return grad_input, grad_weight, grad_bias

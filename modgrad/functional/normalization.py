"""Batch normalization, with its derivatives.   Ioffe & Szegedy 2015.

Shapes: input (N, C, ...), one mean, variance, weight and bias for each channel (C). Means and sums are over every
dimension but the channels'. Gradients come as a triple: of the input, the weight, the bias.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from modgrad.functional.kernel import kernel

Three = tuple[Tensor, Tensor, Tensor]
_backward = torch.ops.aten.native_batch_norm_backward.default


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

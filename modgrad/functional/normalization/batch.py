"""Batch normalization, Ioffe & Szegedy 2015; and instance normalization, Ulyanov et al. 2016.

Shapes: input (N, C, ...), weight and bias (C). Batch normalization has one mean and variance for each channel, (C),
over every dimension but the channels'; instance normalization one for each channel of each sample, (N C), over the
dimensions that follow.
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
    "instance_norm",
    "instance_norm_backward",
]

Wanted = tuple[Tensor | None, Tensor | None, Tensor | None]
ALL = (True, True, True)
_backward = direct(torch.ops.aten.native_batch_norm_backward.default)


def _batch_norm_kernel(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    if input.numel() == 0:  # which the kernel refuses
        return NotImplemented
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
    Of an empty batch y is empty and the statistics are not numbers.
    """
    dims, count = _reduced(input)
    mean = input.mean(dims)
    variance = ((input - _channels(mean, input)) ** 2).mean(dims)
    scale = torch.rsqrt(variance + eps)
    output = _affine((input - _channels(mean, input)) * _channels(scale, input), weight, bias)
    return output, mean, scale, variance * (count / max(count - 1, 1))


def _batch_norm_backward_kernel(
    grad: Tensor,
    input: Tensor,
    mean: Tensor,
    scale: Tensor,
    weight: Tensor | None,
    wanted: Sequence[bool] = ALL,
) -> Wanted:
    if input.numel() == 0:
        return NotImplemented
    # With the batch's own statistics eps is within the scale.
    return _asked(_backward(grad, input, weight, None, None, mean, scale, True, 0.0, list(wanted)), wanted)


@kernel(_batch_norm_backward_kernel)
def batch_norm_backward(
    grad: Tensor,
    input: Tensor,
    mean: Tensor,
    scale: Tensor,
    weight: Tensor | None,
    wanted: Sequence[bool] = ALL,
) -> Wanted:
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
    grad_input = _affine(centred * _channels(scale, input), weight, None)
    return _asked((grad_input, grad_weight, grad_bias), wanted)


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
    grad: Tensor,
    input: Tensor | None,
    mean: Tensor | None,
    variance: Tensor,
    weight: Tensor | None,
    eps: float,
    wanted: Sequence[bool] = ALL,
) -> Wanted:
    if input is None or input.numel() == 0:  # without values the kernel dies
        return NotImplemented
    return _asked(_backward(grad, input, weight, mean, variance, None, None, False, eps, list(wanted)), wanted)


@kernel(_batch_norm_apply_backward_kernel)
def batch_norm_apply_backward(
    grad: Tensor,
    input: Tensor | None,
    mean: Tensor | None,
    variance: Tensor,
    weight: Tensor | None,
    eps: float,
    wanted: Sequence[bool] = ALL,
) -> Wanted:
    """With r = 1 / sqrt(v + eps), z = (x - m) r and g = dL/dy; m and v are constants:

    dL/db = sum g
    dL/dw = sum g z     input and mean are needed for this one only
    dL/dx = r w g
    """
    dims, _ = _reduced(grad)
    scale = torch.rsqrt(variance + eps)
    grad_input = grad_weight = None
    if wanted[0]:
        slope = scale if weight is None else scale * weight
        grad_input = (grad * _channels(slope, grad)).to(grad.dtype)
    if wanted[1]:
        assert input is not None
        assert mean is not None
        grad_weight = (grad * (input - _channels(mean, input)) * _channels(scale, input)).sum(dims)
    return grad_input, grad_weight, grad.sum(dims) if wanted[2] else None


def instance_norm(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Batch normalization of each sample by itself: of one sample that has N C channels.

    Returns y (N, C, ...), and mean, scale and unbiased variance as `batch_norm` does, each (N C).
    """
    n = input.shape[0]
    output, mean, scale, variance = batch_norm(_as_one_sample(input), _repeated(weight, n), _repeated(bias, n), eps)
    return output.reshape(input.shape), mean, scale, variance


def instance_norm_backward(
    grad: Tensor,
    input: Tensor,
    mean: Tensor,
    scale: Tensor,
    weight: Tensor | None,
    wanted: Sequence[bool] = ALL,
) -> Wanted:
    """Those of batch normalization, with dL/dw and dL/db summed over the samples, which share them."""
    n, channels = input.shape[:2]
    grad_input, grad_weight, grad_bias = batch_norm_backward(
        _as_one_sample(grad), _as_one_sample(input), mean, scale, _repeated(weight, n), wanted
    )
    return (
        None if grad_input is None else grad_input.reshape(input.shape),
        None if grad_weight is None else grad_weight.reshape(n, channels).sum(0),
        None if grad_bias is None else grad_bias.reshape(n, channels).sum(0),
    )


def _as_one_sample(input: Tensor) -> Tensor:
    return input.reshape(1, input.shape[0] * input.shape[1], *input.shape[2:])


def _repeated(values: Tensor | None, times: int) -> Tensor | None:
    return None if values is None else values.repeat(times)


def _asked(gradients: tuple[Tensor, Tensor, Tensor], wanted: Sequence[bool]) -> Wanted:
    """None in place of what was not wanted, for which a kernel may leave anything."""
    first, second, third = gradients
    return first if wanted[0] else None, second if wanted[1] else None, third if wanted[2] else None


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

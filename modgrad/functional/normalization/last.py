"""Normalizations over the last dimensions: of layers, Ba et al. 2016; by root mean squares, Zhang & Sennrich 2019.

Shapes: input (..., *S), where S is `shape`, the dimensions that means are over; weight and bias S; mean and scale
(..., 1, ...), with ones in place of S.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from modgrad.functional.kernel import direct, kernel

__all__ = ["layer_norm", "layer_norm_backward", "rms_norm", "rms_norm_backward"]

Wanted = tuple[Tensor | None, Tensor | None, Tensor | None]
_layer_norm_backward = direct(torch.ops.aten.native_layer_norm_backward.default)


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
    if weight is not None:
        return _layer_norm_backward(grad, input, shape, mean, scale, weight, weight, list(wanted))
    mask = [wanted[0], False, False]
    grad_input = _layer_norm_backward(grad, input, shape, mean, scale, None, None, mask)[0] if wanted[0] else None
    rows = (-1, math.prod(shape))
    return grad_input, None, grad.reshape(rows).sum(0).reshape(tuple(shape)) if wanted[2] else None


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


def _rms_norm_kernel(input: Tensor, shape: Sequence[int], weight: Tensor | None, eps: float) -> tuple[Tensor, Tensor]:
    """As PyTorch, no coarser than float32 inside. The norm is taken in one reading, and writes no squares down."""
    dims = list(range(-len(shape), 0))
    values = input.to(torch.promote_types(input.dtype, torch.float32))
    norm = torch.linalg.vector_norm(values, dim=dims, keepdim=True)
    scale = torch.rsqrt(norm * norm / math.prod(shape) + eps)
    output = values * scale
    if weight is not None:
        output = output.mul_(weight)
    return output.to(input.dtype), scale


@kernel(_rms_norm_kernel)
def rms_norm(input: Tensor, shape: Sequence[int], weight: Tensor | None, eps: float) -> tuple[Tensor, Tensor]:
    """y = x r w, with r = 1 / sqrt(mean(x^2) + eps), the mean over the dimensions of `shape`.   Returns y, r."""
    dims = list(range(-len(shape), 0))
    scale = torch.rsqrt((input * input).mean(dims, keepdim=True) + eps)
    output = input * scale
    return output if weight is None else output * weight, scale


def _rms_norm_backward_kernel(
    grad: Tensor,
    input: Tensor,
    shape: Sequence[int],
    scale: Tensor,
    weight: Tensor | None,
    wanted: Sequence[bool] = (True, True),
) -> tuple[Tensor | None, Tensor | None]:
    """There is no kernel for the CPU. Layer normalization's, told that the mean is 0, lacks the term r mean(h) only."""
    dtype = scale.dtype
    g, w = grad.to(dtype), None if weight is None else weight.to(dtype)
    grad_input, grad_weight, _ = _layer_norm_backward(
        g, input.to(dtype), shape, torch.zeros_like(scale), scale, w, w, [*wanted, False]
    )
    if wanted[0]:
        rows = g.reshape(-1, math.prod(shape))
        mean = rows.mean(1) if w is None else rows @ w.reshape(-1) / rows.shape[1]
        grad_input = grad_input.add_(scale * mean.reshape(scale.shape)).to(input.dtype)
    if wanted[1] and weight is not None:
        grad_weight = grad_weight.to(weight.dtype)
    return grad_input if wanted[0] else None, grad_weight if wanted[1] else None


@kernel(_rms_norm_backward_kernel)
def rms_norm_backward(
    grad: Tensor,
    input: Tensor,
    shape: Sequence[int],
    scale: Tensor,
    weight: Tensor | None,
    wanted: Sequence[bool] = (True, True),
) -> tuple[Tensor | None, Tensor | None]:
    """With z = x r, the normalised input, g = dL/dy and h = w g = dL/dz; r depends on x:

    dL/dw = sum g z    over all dimensions but those of S
    dL/dx = r (h - z mean(h z))    means over the dimensions of S

    For dr/dx_i = -r^2 z_i / n, so dz_j/dx_i = r (1[i = j] - z_i z_j / n).
    wanted: which of the two to give, of the input, the weight; None for the other.
    """
    inner = list(range(-len(shape), 0))
    outer = list(range(input.dim() - len(shape)))
    z = input * scale
    grad_input = grad_weight = None
    if wanted[0]:
        h = grad if weight is None else grad * weight
        grad_input = (scale * (h - z * (h * z).mean(inner, keepdim=True))).to(input.dtype)
    if wanted[1]:
        grad_weight = (grad * z).sum(outer) if outer else grad * z
        grad_weight = grad_weight if weight is None else grad_weight.to(weight.dtype)
    return grad_input, grad_weight

"""Channels and pixels in another order. Each is undone by another of them, which is its derivative too."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from modgrad.functional.kernel import kernel

__all__ = [
    "channel_shuffle",
    "channel_shuffle_backward",
    "pixel_shuffle",
    "pixel_shuffle_backward",
    "pixel_unshuffle",
    "pixel_unshuffle_backward",
]

_torch: Any = torch


def _kernel(name: str) -> Any:
    """ATen's for an input whose channels lie side by side, which they are to do in the output too.

    Of others the formula makes one copy, and is faster. (ATen's pixel_unshuffle gives back an empty batch as it was.)
    """
    fast = getattr(_torch, name)
    return lambda input, n: NotImplemented if input.is_contiguous() else fast(input, n)


@kernel(_kernel("pixel_shuffle"))
def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """y[c, h r + u, w r + v] = x[c r^2 + u r + v, h, w].   x (..., C r^2, H, W), y (..., C, H r, W r).

    Shi et al. 2016, eq. 4.
    """
    *leading, channels, height, width = input.shape
    r = upscale_factor
    y = input.reshape(*leading, channels // r**2, r, r, height, width)
    n = len(leading)
    y = y.permute(*range(n), n, n + 3, n + 1, n + 4, n + 2)
    return y.reshape(*leading, channels // r**2, height * r, width * r)


def pixel_shuffle_backward(grad: Tensor, upscale_factor: int) -> Tensor:
    """dL/dx: each gradient back where its value came from."""
    return pixel_unshuffle(grad, upscale_factor)


@kernel(_kernel("pixel_unshuffle"))
def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """y[c r^2 + u r + v, h, w] = x[c, h r + u, w r + v].   x (..., C, H r, W r), y (..., C r^2, H, W)."""
    *leading, channels, height, width = input.shape
    r = downscale_factor
    y = input.reshape(*leading, channels, height // r, r, width // r, r)
    n = len(leading)
    y = y.permute(*range(n), n, n + 2, n + 4, n + 1, n + 3)
    return y.reshape(*leading, channels * r**2, height // r, width // r)


def pixel_unshuffle_backward(grad: Tensor, downscale_factor: int) -> Tensor:
    """dL/dx: each gradient back where its value came from."""
    return pixel_shuffle(grad, downscale_factor)


@kernel(_kernel("channel_shuffle"))
def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """y[n, k G + g] = x[n, g C / G + k]: the first channel of each of the G groups, then the second of each, ...

    x (N, C, ...).   Zhang et al. 2018, section 3.1.
    """
    n, channels, *space = input.shape
    return input.reshape(n, groups, channels // groups, *space).transpose(1, 2).reshape(input.shape)


def channel_shuffle_backward(grad: Tensor, groups: int) -> Tensor:
    """dL/dx: the same with as many groups as there were channels in one."""
    return channel_shuffle(grad, grad.shape[1] // groups)

"""Layers that put channels and pixels in another order."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from modgrad import functional
from modgrad.graph import Primitive

__all__ = ["ChannelShuffle", "PixelShuffle", "PixelUnshuffle"]


class PixelShuffle(Primitive):
    """r^2 channels become r x r pixels, r = upscale_factor.   (..., C r^2, H, W) -> (..., C, H r, W r)."""

    def __init__(self, upscale_factor: int) -> None:
        super().__init__()
        self.upscale_factor = upscale_factor

    def forward(self, call: Any, input: Tensor) -> Tensor:
        call.factor = r = self.upscale_factor
        if r < 1 or input.dim() < 3 or input.shape[-3] % r**2:
            raise ValueError(
                f"{self} was given an input of shape {tuple(input.shape)}: expected (..., C, H, W), C a multiple of "
                "upscale_factor squared"
            )
        return functional.pixel_shuffle(input, r)

    def backward(self, call: Any, grad: Tensor) -> Tensor:
        return functional.pixel_shuffle_backward(grad, call.factor)

    def extra_repr(self) -> str:
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Primitive):
    """r x r pixels become r^2 channels, r = downscale_factor.   (..., C, H r, W r) -> (..., C r^2, H, W)."""

    def __init__(self, downscale_factor: int) -> None:
        super().__init__()
        self.downscale_factor = downscale_factor

    def forward(self, call: Any, input: Tensor) -> Tensor:
        call.factor = r = self.downscale_factor
        if r < 1 or input.dim() < 3 or input.shape[-1] % r or input.shape[-2] % r:
            raise ValueError(
                f"{self} was given an input of shape {tuple(input.shape)}: expected (..., C, H, W), H and W "
                "multiples of downscale_factor"
            )
        return functional.pixel_unshuffle(input, r)

    def backward(self, call: Any, grad: Tensor) -> Tensor:
        return functional.pixel_unshuffle_backward(grad, call.factor)

    def extra_repr(self) -> str:
        return f"downscale_factor={self.downscale_factor}"


class ChannelShuffle(Primitive):
    """The first channel of each of `groups` groups, then the second of each, and so on.   input (N, C, ...)."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, call: Any, input: Tensor) -> Tensor:
        call.groups = groups = self.groups
        if groups < 1 or input.dim() < 3 or input.shape[1] % groups:
            raise ValueError(
                f"{self} was given an input of shape {tuple(input.shape)}: expected (N, C, ...), C a multiple of groups"
            )
        return functional.channel_shuffle(input, groups)

    def backward(self, call: Any, grad: Tensor) -> Tensor:
        return functional.channel_shuffle_backward(grad, call.groups)

    def extra_repr(self) -> str:
        return f"groups={self.groups}"

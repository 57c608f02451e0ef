"""`torch.nn.functional` on Variables: patches, sizes and orders of pixels."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from modgrad import nn
from modgrad.graph.dispatch import operator
from modgrad.nn.operators.sampling import affine_grid, grid_sample
from modgrad.nn.upsampling import interpolate

operator(F.interpolate)(interpolate)
operator(F.grid_sample)(grid_sample)
operator(F.affine_grid)(affine_grid)


@operator(F.unfold)
def _unfold(input: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Any:
    return nn.Unfold(kernel_size, dilation, padding, stride)(input)


@operator(F.fold)
def _fold(input: Any, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Any:
    return nn.Fold(output_size, kernel_size, dilation, padding, stride)(input)


@operator(F.pixel_shuffle)
def _pixel_shuffle(input: Any, upscale_factor: int) -> Any:
    return nn.PixelShuffle(upscale_factor)(input)


@operator(F.pixel_unshuffle)
def _pixel_unshuffle(input: Any, downscale_factor: int) -> Any:
    return nn.PixelUnshuffle(downscale_factor)(input)


@operator(torch.channel_shuffle, torch.native_channel_shuffle)
def _channel_shuffle(input: Any, groups: int) -> Any:
    return nn.ChannelShuffle(groups)(input)

"""`torch.nn.functional` on Variables: patches, sizes and orders of pixels."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from modgrad import nn
from modgrad.graph.dispatch import operator
from modgrad.interop.functions.table import of_layer
from modgrad.nn.images.interpolation import interpolate
from modgrad.nn.operators.sampling import affine_grid, grid_sample

_torch: Any = torch

operator(F.interpolate)(interpolate)
operator(F.grid_sample)(grid_sample)
operator(F.affine_grid)(affine_grid)

of_layer(nn.Unfold, F.unfold)
of_layer(nn.Fold, F.fold)
of_layer(nn.PixelShuffle, F.pixel_shuffle, like="input upscale_factor")
of_layer(nn.PixelUnshuffle, F.pixel_unshuffle, like="input downscale_factor")
of_layer(nn.ChannelShuffle, _torch.channel_shuffle, _torch.native_channel_shuffle, like="input groups")

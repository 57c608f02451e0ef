"""The U-Net, which gives every pixel a class, under the names of milesial's Pytorch-UNet.

Ronneberger, Fischer & Brox 2015: "U-Net: Convolutional networks for biomedical image segmentation", figure 1; with
padded convolutions, so that the output is as large as the input, and batch normalization, as is usual since.
"""

from __future__ import annotations

from typing import Any

import torch

from modgrad import nn


class DoubleConv(nn.Module):
    """Two 3x3 convolutions.   (N, in_channels, H, W) -> (N, out_channels, H, W)."""

    def __init__(self, in_channels: int, out_channels: int, mid_channels: int | None = None) -> None:
        super().__init__()
        mid_channels = mid_channels or out_channels
        self.double_conv = nn.Sequential(
            nn.Conv2d(in_channels, mid_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(mid_channels),
            nn.ReLU(),
            nn.Conv2d(mid_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
        )

    def forward(self, x: Any) -> Any:
        return self.double_conv(x)


class Down(nn.Module):
    """Half the size, then two convolutions.   (N, in_channels, H, W) -> (N, out_channels, H / 2, W / 2)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.maxpool_conv = nn.Sequential(nn.MaxPool2d(2), DoubleConv(in_channels, out_channels))

    def forward(self, x: Any) -> Any:
        return self.maxpool_conv(x)


class Up(nn.Module):
    """Twice the size, beside what was of that size on the way down, then two convolutions.

    bilinear: enlarged by interpolation, with x of in_channels / 2 channels; else by a transposed convolution, with x of
    in_channels. skip (N, in_channels / 2, H, W).
    """

    def __init__(self, in_channels: int, out_channels: int, bilinear: bool) -> None:
        super().__init__()
        if bilinear:
            self.up: nn.Module = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
            self.conv = DoubleConv(in_channels, out_channels, in_channels // 2)
        else:
            self.up = nn.ConvTranspose2d(in_channels, in_channels // 2, 2, stride=2)
            self.conv = DoubleConv(in_channels, out_channels)

    def forward(self, x: Any, skip: Any) -> Any:
        x = self.up(x)  # (N, in_channels / 2, H, W), or one row or column less, where H or W is odd
        bottom, right = skip.shape[2] - x.shape[2], skip.shape[3] - x.shape[3]
        if bottom or right:
            x = nn.ZeroPad2d((0, right, 0, bottom))(x)
        return self.conv(torch.cat([skip, x], 1))  # (N, out_channels, H, W)


class OutConv(nn.Module):
    """Of each pixel, scores of the classes.   (N, in_channels, H, W) -> (N, out_channels, H, W)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Any) -> Any:
        return self.conv(x)


class UNet(nn.Module):
    """Four times to half the size and back, with a bridge at each size. Images of 16 pixels a side or more.

    width: channels at full size, twice as many at each smaller one. Of 3 channels and 2 classes it has 31,037,698
    parameters, 17,263,042 if bilinear.
    """

    def __init__(self, n_channels: int, n_classes: int, bilinear: bool = False, width: int = 64) -> None:
        super().__init__()
        w, factor = width, 2 if bilinear else 1  # interpolation keeps the channels, so the layer before halves them
        self.inc = DoubleConv(n_channels, w)
        self.down1 = Down(w, 2 * w)
        self.down2 = Down(2 * w, 4 * w)
        self.down3 = Down(4 * w, 8 * w)
        self.down4 = Down(8 * w, 16 * w // factor)
        self.up1 = Up(16 * w, 8 * w // factor, bilinear)
        self.up2 = Up(8 * w, 4 * w // factor, bilinear)
        self.up3 = Up(4 * w, 2 * w // factor, bilinear)
        self.up4 = Up(2 * w, w, bilinear)
        self.outc = OutConv(w, n_classes)

    def forward(self, x: Any) -> Any:  # (N, n_channels, H, W); without `bilinear`:
        x1 = self.inc(x)  # (N, w, H, W)
        x2 = self.down1(x1)  # (N, 2 w, H / 2, W / 2)
        x3 = self.down2(x2)  # (N, 4 w, H / 4, W / 4)
        x4 = self.down3(x3)  # (N, 8 w, H / 8, W / 8)
        x5 = self.down4(x4)  # (N, 16 w, H / 16, W / 16)
        x = self.up1(x5, x4)  # (N, 8 w, H / 8, W / 8)
        x = self.up2(x, x3)  # (N, 4 w, H / 4, W / 4)
        x = self.up3(x, x2)  # (N, 2 w, H / 2, W / 2)
        x = self.up4(x, x1)  # (N, w, H, W)
        return self.outc(x)  # (N, n_classes, H, W)

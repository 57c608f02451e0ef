"""Residual networks as torchvision defines them, whose published weights load by name.

He, Zhang, Ren & Sun 2016: "Deep residual learning for image recognition", table 1. One thing is torchvision's: the
stride of a Bottleneck is in its 3x3 convolution, where the paper has it in the 1x1 before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from modgrad import nn


def projection(in_channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
    """What brings a block's input to the shape of its output; None where it has that already."""
    if stride == 1 and in_channels == out_channels:
        return None
    convolution = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels))


class BasicBlock(nn.Module):
    """y = relu(x + F(x)), F two 3x3 convolutions.   Figure 5, left."""

    expansion = 1  # channels of the output to `channels`

    def __init__(self, in_channels: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.downsample = projection(in_channels, channels, stride)

    def forward(self, x: Any) -> Any:  # (N, in_channels, H, W)
        shortcut = x if self.downsample is None else self.downsample(x)  # (N, channels, H / stride, W / stride)
        out = self.relu(self.bn1(self.conv1(x)))  # (N, channels, H / stride, W / stride)
        out = self.bn2(self.conv2(out))
        return self.relu(out + shortcut)


class Bottleneck(nn.Module):
    """y = relu(x + F(x)), F a 3x3 convolution between two 1x1, which narrow and widen.   Figure 5, right."""

    expansion = 4

    def __init__(self, in_channels: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        out_channels = channels * self.expansion
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU()
        self.downsample = projection(in_channels, out_channels, stride)

    def forward(self, x: Any) -> Any:  # (N, in_channels, H, W)
        shortcut = x if self.downsample is None else self.downsample(x)  # (N, 4 channels, H / stride, W / stride)
        out = self.relu(self.bn1(self.conv1(x)))  # (N, channels, H, W)
        out = self.relu(self.bn2(self.conv2(out)))  # (N, channels, H / stride, W / stride)
        out = self.bn3(self.conv3(out))  # (N, 4 channels, H / stride, W / stride)
        return self.relu(out + shortcut)


class ResNet(nn.Module):
    """A stem, four stages of blocks, the mean over the image, and a linear classifier.

    layers: how many blocks each stage has. With the same seed the initial weights are torchvision's.
    """

    def __init__(self, block: type[BasicBlock | Bottleneck], layers: Sequence[int], num_classes: int = 1000) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = stage(block, 64, 64, layers[0])
        self.layer2 = stage(block, 64 * block.expansion, 128, layers[1], stride=2)
        self.layer3 = stage(block, 128 * block.expansion, 256, layers[2], stride=2)
        self.layer4 = stage(block, 256 * block.expansion, 512, layers[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(512 * block.expansion, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Any) -> Any:  # (N, 3, H, W); e is the blocks' expansion
        x = self.relu(self.bn1(self.conv1(x)))  # (N, 64, H / 2, W / 2)
        x = self.maxpool(x)  # (N, 64, H / 4, W / 4)
        x = self.layer1(x)  # (N, 64 e, H / 4, W / 4)
        x = self.layer2(x)  # (N, 128 e, H / 8, W / 8)
        x = self.layer3(x)  # (N, 256 e, H / 16, W / 16)
        x = self.layer4(x)  # (N, 512 e, H / 32, W / 32)
        x = self.avgpool(x).flatten(1)  # (N, 512 e)
        return self.fc(x)  # (N, num_classes)


def stage(
    block: type[BasicBlock | Bottleneck], in_channels: int, channels: int, blocks: int, stride: int = 1
) -> nn.Sequential:
    """Blocks one after another, of which the first has the stride."""
    first = block(in_channels, channels, stride)
    return nn.Sequential(first, *(block(channels * block.expansion, channels) for _ in range(blocks - 1)))


def resnet18(num_classes: int = 1000) -> ResNet:
    """ResNet-18: 11,689,512 parameters."""
    return ResNet(BasicBlock, [2, 2, 2, 2], num_classes)


def resnet34(num_classes: int = 1000) -> ResNet:
    """ResNet-34: 21,797,672 parameters."""
    return ResNet(BasicBlock, [3, 4, 6, 3], num_classes)


def resnet50(num_classes: int = 1000) -> ResNet:
    """ResNet-50: 25,557,032 parameters."""
    return ResNet(Bottleneck, [3, 4, 6, 3], num_classes)

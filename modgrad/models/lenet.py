"""LeNet-5, the convolutional network that read the digits on cheques."""

from __future__ import annotations

from typing import Any

from modgrad import nn


class LeNet(nn.Module):
    """LeCun, Bottou, Bengio & Haffner 1998, section II.B, in its modern form: ReLU, maxima, every map seen, a softmax.

    padding: 2 for images of 28x28, which the paper puts into frames of 32x32; 0 for images of 32x32. The names of the
    parameters are those of PyTorch's tutorials.
    """

    def __init__(self, in_channels: int = 1, num_classes: int = 10, padding: int = 2) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 6, 5, padding=padding)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.pool = nn.MaxPool2d(2)
        self.relu = nn.ReLU()
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, num_classes)

    def forward(self, x: Any) -> Any:  # (N, in_channels, 28, 28)
        x = self.pool(self.relu(self.conv1(x)))  # (N, 6, 14, 14)
        x = self.pool(self.relu(self.conv2(x)))  # (N, 16, 5, 5)
        x = x.flatten(1)  # (N, 400)
        x = self.relu(self.fc1(x))  # (N, 120)
        x = self.relu(self.fc2(x))  # (N, 84)
        return self.fc3(x)  # (N, num_classes)

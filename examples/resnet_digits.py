"""A residual network on scikit-learn's digits: 1,797 images of 8x8 pixels, of which 500 are kept for the test.

    python examples/resnet_digits.py [--seed 0]

The network is a module that only has a forward, where `skip(x) + body(x)` stands as one would say it. In backward the
gradient of the sum goes both ways, and what comes back from both is added up before the block.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor

from modgrad import nn, optim
from modgrad.helper import compute_nb_errors, train_model

NB_TEST = 500
BATCH_SIZE = 50
WIDTH = 24


class Residual(nn.Module):
    """y = relu(skip(x) + body(x)); skip(x) is x where the shape stays.   He et al. 2016, section 3.2."""

    def __init__(self, channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, out_channels, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.skip: nn.Module = nn.Identity()
        if stride != 1 or channels != out_channels:
            projection = nn.Conv2d(channels, out_channels, 1, stride, bias=False)
            self.skip = nn.Sequential(projection, nn.BatchNorm2d(out_channels))
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Any:  # (N, channels, H, W)
        return self.relu(self.skip(x) + self.body(x))  # (N, out_channels, H / stride, W / stride)


class ResNet(nn.Module):
    def __init__(self, nb_classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(  # (N, 1, 8, 8)
            nn.Conv2d(1, WIDTH, 3, padding=1, bias=False),  # (N, WIDTH, 8, 8)
            nn.BatchNorm2d(WIDTH),
            nn.ReLU(),
            Residual(WIDTH, WIDTH),
            Residual(WIDTH, 2 * WIDTH, stride=2),  # (N, 2 WIDTH, 4, 4)
        )
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),  # (N, 2 WIDTH, 1, 1)
            nn.Flatten(),  # (N, 2 WIDTH)
            nn.Linear(2 * WIDTH, nb_classes),  # (N, nb_classes)
        )

    def forward(self, x: Tensor) -> Any:
        return self.head(self.body(x))


def load() -> tuple[Tensor, Tensor]:
    """Images (1797, 1, 8, 8), values from -1 to 1, and their digits (1797), in a random order that stays the same."""
    pixels, digits = load_digits(return_X_y=True)
    order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(0))
    images = torch.as_tensor(pixels, dtype=torch.float32).reshape(-1, 1, 8, 8) / 8 - 1
    return images[order], torch.as_tensor(digits, dtype=torch.int64)[order]


def fit(model: nn.Module, images: Tensor, classes: Tensor, progress: bool) -> None:
    optimizer = optim.SGD(model.parameters(), momentum=0.9, weight_decay=0.005, nesterov=True)
    for lr, epochs in ((0.1, 16), (0.01, 4)):
        optimizer.param_groups[0]["lr"] = lr
        name = f"learning rate {lr}"
        train_model(
            model, images, classes, optimizer, nn.CrossEntropyLoss(), epochs, BATCH_SIZE, progress=progress, name=name
        )


def accuracy(model: nn.Module, images: Tensor, classes: Tensor) -> float:
    """In percent."""
    return 100 * (1 - compute_nb_errors(model, images, classes) / len(images))


def main(seed: int = 0, progress: bool = True) -> float:
    """Train on all but 500 images; the accuracy on those, in percent."""
    torch.manual_seed(seed)  # of the weights and the batches
    images, digits = load()
    start = time.perf_counter()
    model = ResNet(nb_classes=10)
    fit(model, images[NB_TEST:], digits[NB_TEST:], progress)
    right = accuracy(model, images[:NB_TEST], digits[:NB_TEST])
    print(f"seed {seed}: {right:.1f} % of {NB_TEST} test images right, after {time.perf_counter() - start:.1f} s")
    return right


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train a residual network on digits; print its test accuracy.")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and the batches (default: 0)")
    torch.set_num_threads(1)  # the images are small: more threads mostly wait for each other
    main(**vars(parser.parse_args()))

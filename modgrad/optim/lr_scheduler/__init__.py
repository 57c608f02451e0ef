"""Schedules of the learning rate, under PyTorch's names.

Each is made for an optimizer, whose `param_groups` its `step()` changes: once after each epoch, or, as the `scheduler`
of a TrainingStep, after each update. There the numbers are inputs of the program: no change of them compiles anew.
"""

from modgrad.optim.lr_scheduler.composed import ChainedScheduler, SequentialLR
from modgrad.optim.lr_scheduler.cosine import CosineAnnealingLR, CosineAnnealingWarmRestarts
from modgrad.optim.lr_scheduler.cycle import CyclicLR, OneCycleLR
from modgrad.optim.lr_scheduler.decay import (
    ConstantLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiplicativeLR,
    MultiStepLR,
    PolynomialLR,
    StepLR,
)
from modgrad.optim.lr_scheduler.plateau import ReduceLROnPlateau
from modgrad.optim.lr_scheduler.scheduler import LRScheduler

__all__ = [
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]

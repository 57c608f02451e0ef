"""Optimizers, under PyTorch's names: update rules as pure functions, thin classes over them."""

from modgrad.optim.adam import Adam, adam, adam_
from modgrad.optim.optimizer import Optimizer
from modgrad.optim.sgd import SGD, sgd, sgd_

__all__ = ["SGD", "Adam", "Optimizer", "adam", "adam_", "sgd", "sgd_"]

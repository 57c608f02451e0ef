"""Whole models from PyTorch's modules, and to them."""

from modgrad.interop.modules.from_torch import from_torch
from modgrad.interop.modules.to_torch import to_torch

__all__ = ["from_torch", "to_torch"]

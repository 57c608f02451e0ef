"""Operators on Variables and Parameters: the primitives behind `x + y`, `x[0]`, `torch.cat` and the like.

Importing this package enters them in `graph.dispatch.OPERATORS`. Each entry has the arguments of the PyTorch function
that it stands in for, and calls a primitive.
"""

from modgrad.nn.operators import arithmetic, attention, shape
from modgrad.nn.operators.attention import scaled_dot_product_attention
from modgrad.nn.operators.normalize import normalize

__all__ = ["arithmetic", "attention", "normalize", "scaled_dot_product_attention", "shape"]

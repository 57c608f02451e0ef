"""Operators on Variables and Parameters: the primitives behind `x + y`, `x[0]`, `torch.cat` and the like.

Importing this package enters them in `graph.dispatch.OPERATORS`. Each entry has the arguments of the PyTorch function
that it stands in for, and calls a primitive.
"""

from modgrad.nn.operators import activation, arithmetic, attention, shape
from modgrad.nn.operators.attention import scaled_dot_product_attention

__all__ = ["activation", "arithmetic", "attention", "scaled_dot_product_attention", "shape"]

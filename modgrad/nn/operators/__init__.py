"""Operators on Variables and Parameters: the primitives behind `x + y`, `x[0]`, `torch.cat` and the like.

Importing this package enters them in `graph.dispatch.OPERATORS`. Each entry has the arguments of the PyTorch function
that it stands in for, and calls a primitive. `base` is what they are made of; `listing` tells what there is, and where
the formulas stand.
"""

from modgrad.nn.operators import (
    arithmetic,
    attention,
    copying,
    einsum,
    elementwise,
    indexing,
    joining,
    order,
    product,
    reduction,
    shape,
)
from modgrad.nn.operators.attention import scaled_dot_product_attention

__all__ = ["arithmetic", "attention", "scaled_dot_product_attention", "shape"]

"""Operators on Variables and Parameters: the primitives behind `x + y`, `x[0]`, `torch.cat` and the like.

Importing this package enters them in `graph.dispatch.OPERATORS`. Each entry has the arguments of the PyTorch function
that it stands in for, and calls a primitive.
"""

from modgrad.nn.operators import arithmetic, shape

__all__ = ["arithmetic", "shape"]

"""Operators on Variables and Parameters: the primitives behind `x + y`, `x[0]`, `torch.cat` and the like.

Importing this package enters them in `graph.dispatch.OPERATORS`: a file for each family, all of them imported here.
Each entry has the arguments of the PyTorch function that it stands in for, and calls a primitive.
"""

from importlib import import_module
from pkgutil import iter_modules

from modgrad.nn.operators.attention import scaled_dot_product_attention as scaled_dot_product_attention

for _family in iter_modules(__path__):
    if _family.name != "listing":  # a program that reads the others
        import_module(f"{__name__}.{_family.name}")

"""PyTorch's functions of layers (`torch.nn.functional`), called on Variables: each calls the primitive of its name.

So a model that is written with them is ported without rewriting its forward. Those that are not here raise. A file for
each family; importing it registers its functions, and all of them are imported here. They are PyTorch's own functions,
and known as `modgrad.nn.functional` too.
"""

import sys
from importlib import import_module
from pkgutil import iter_modules

import torch

from modgrad import nn

for _family in iter_modules(__path__):
    import_module(f"{__name__}.{_family.name}")

nn.functional = sys.modules["modgrad.nn.functional"] = torch.nn.functional  # type: ignore[attr-defined]

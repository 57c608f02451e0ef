"""PyTorch's functions of layers (`torch.nn.functional`), called on Variables: each calls the primitive of its name.

So a model that is written with them is ported without rewriting its forward. Those that are not here raise. A file for
each family; importing it registers its functions, and all of them are imported here.
"""

from importlib import import_module
from pkgutil import iter_modules

for _family in iter_modules(__path__):
    import_module(f"{__name__}.{_family.name}")

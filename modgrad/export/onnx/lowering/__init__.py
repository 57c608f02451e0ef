"""How each ATen operator is said in ONNX: `LOWERINGS`, by family.

A family's file enters its functions by importing it; every file of this folder takes part.
"""

from importlib import import_module
from pkgutil import iter_modules

from modgrad.export.onnx.lowering.table import LOWERINGS as LOWERINGS
from modgrad.export.onnx.lowering.table import Operation as Operation

for _found in iter_modules(__path__):
    import_module(f"{__name__}.{_found.name}")

"""Arguments to try each function on that has both bodies, in the file of its family: a dictionary `ARGUMENTS`."""

from importlib import import_module
from pkgutil import iter_modules

from tests.functional.arguments.make import Arguments

_families = [import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__)]
ARGUMENTS: Arguments = {name: make for family in _families for name, make in getattr(family, "ARGUMENTS", {}).items()}

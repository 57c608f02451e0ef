"""Arguments to try each function on that has both bodies, in the file of its family: a dictionary `ARGUMENTS`."""

from importlib import import_module
from pkgutil import walk_packages

from tests.functional.arguments.make import Arguments

_families = [import_module(found.name) for found in walk_packages(__path__, f"{__name__}.")]
ARGUMENTS: Arguments = {name: make for family in _families for name, make in getattr(family, "ARGUMENTS", {}).items()}

"""The table that the contract is held over: a row for each primitive, in the file of its family.

Each row says how to make the thing in modgrad, how to make its twin in PyTorch, and inputs to try both on; the first
inputs are the ones that the graph's cases use. Parameters and buffers are copied from one to the other by name. Every
file here with a list `CASES` takes part.
"""

from importlib import import_module
from pkgutil import walk_packages
from typing import Any

import pytest

from tests.cases.table import Case as Case
from tests.cases.table import Inputs as Inputs

_families = [import_module(found.name) for found in walk_packages(__path__, f"{__name__}.")]
CASES: list[Case] = [case for family in _families for case in getattr(family, "CASES", [])]

_named: set[str] = set()
# The first row of each primitive, for what does not depend on a layer's arguments.
FIRST = [case for case in CASES if set(case.primitives) - _named and not _named.update(case.primitives)]


def row(case: Case, thorough: bool, *rest: Any, name: str = "") -> Any:
    """A case as a test's parameter. thorough: left to `make test-all`."""
    return pytest.param(case, *rest, id=name or str(case), marks=[pytest.mark.thorough] if thorough else [])

"""`python -m modgrad.interop.coverage`: docs/coverage.md, what of PyTorch is there, and where each formula stands.

Read off the code, so that the page is as true as the code. A test compares the two.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

import torch
import torch.nn.functional as F

import modgrad.nn.utils.rnn  # noqa: F401 (its functions enter themselves)
from modgrad import nn, optim
from modgrad.graph import Module, Primitive
from modgrad.graph.dispatch import OPERATORS
from modgrad.nn.operators.listing import entries, formulas_of
from modgrad.nn.refused import reason

PACKAGE = Path(nn.__file__).parent.parent
# Why a class that is there is limited.
LIMITED = {
    "CrossMapLRN2d": "refused when it is made: PyTorch's values depart from the published formula, and its gradient "
    "from the derivative; LocalResponseNorm is the layer meant",
    "SyncBatchNorm": "in one process BatchNorm; refused in training across several",
}
HEAD = """\
# What of PyTorch is there

Written by `python -m modgrad.interop.coverage`, which reads it off the code; a test fails when this page is stale. The
yardstick is torch {version}: its module database (108 classes, 2,049 cases) and its operator database are tests.

Every primitive exports to ONNX, and gives in onnxruntime, in float32, what it gives here; `tests/export/test_rows.py`
holds each row of the tests' table to that. The exceptions have as many results as their values say, and are refused by
name: `masked_select`, an index that is a mask, and `repeat_interleave` with a tensor of repeats.
"""


def page() -> str:
    """The page, of Markdown."""
    parts = [HEAD.format(version=torch.__version__.partition("+")[0])]
    parts += ["## Layers and losses", _table(["class", "", "formulas"], _classes())]
    parts += ["## Functions of `torch.nn.functional`, on Variables", _functions()]
    parts += ["## Optimizers and schedules", _optimizers()]
    parts += ["## Operators on Variables", _table(["PyTorch's names", "by", "formulas"], _operators())]
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def _table(headings: list[str], rows: Iterator[list[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _classes() -> Iterator[list[str]]:
    for name in sorted(vars(torch.nn)):
        theirs = getattr(torch.nn, name)
        if not (isinstance(theirs, type) and issubclass(theirs, torch.nn.Module)) or theirs is torch.nn.Module:
            continue
        mine = getattr(nn, name, None)
        if mine is None or name in LIMITED:
            yield [f"`{name}`", "limited" if mine else "no", LIMITED.get(name) or reason(name) or "not there"]
        elif issubclass(mine, Primitive):
            yield [f"`{name}`", "primitive", _places(formulas_of(mine)) or _file(mine)]
        else:
            yield [f"`{name}`", "composite" if mine.forward is not Module.forward else "holds others", _file(mine)]


def _functions() -> str:
    names = [n for n, f in sorted(vars(F).items()) if _is_public(n, f)]
    there = [n for n in names if getattr(F, n) in OPERATORS and n not in RAISING]
    plain = [n for n in names if n in PLAIN]
    rest = [n for n in names if n not in there and n not in plain]
    lines = [f"There: {_listed(there)}.", f"Asked of plain values, as they have no derivative: {_listed(plain)}."]
    lines.append(f"Composed of others, or not there (they raise, and say so): {_listed(rest)}.")
    return "\n\n".join(lines)


PLAIN = {"one_hot"}
RAISING = {"l1_loss"}  # PyTorch does not hand its weight on


def _is_public(name: str, function: Any) -> bool:
    own = isinstance(function, FunctionType) and function.__module__ in ("torch.nn.functional", "torch._jit_internal")
    return not name.startswith("_") and (own or inspect.isbuiltin(function)) and name != "boolean_dispatch"


def _optimizers() -> str:
    lines = []
    for words, room, theirs in (
        ("Optimizers", optim, torch.optim),
        ("Schedules", optim.lr_scheduler, torch.optim.lr_scheduler),
    ):
        base = torch.optim.Optimizer if theirs is torch.optim else torch.optim.lr_scheduler.LRScheduler
        names = [n for n, c in sorted(vars(theirs).items()) if isinstance(c, type) and issubclass(c, base)]
        names = [n for n in names if not n.startswith("_")]
        missing = [n for n in names if not hasattr(room, n)]
        lines.append(f"{words}: {_listed([n for n in names if n not in missing])}.")
        if missing:
            lines.append(f"Not there: {_listed(missing)}.")
    return "\n\n".join([*lines, "Beyond PyTorch: `Lion`."])


def _operators() -> Iterator[list[str]]:
    for entry in sorted(entries(), key=lambda entry: entry.names):
        names = ", ".join(f"`{name}`" for name in sorted(entry.names))
        yield [
            names,
            f"`{entry.place}`",
            ", ".join(f"`{formula}`" for formula in entry.formulas) or "of other operators",
        ]


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _places(functions: list[Any]) -> str:
    return ", ".join(f"`{_file(function)[1:-1]}: {function.__name__}`" for function in functions)


def _file(thing: Any) -> str:
    file = inspect.getsourcefile(inspect.unwrap(thing))
    return f"`{Path(file or '').relative_to(PACKAGE)}`"


if __name__ == "__main__":
    sys.stdout.write(page())

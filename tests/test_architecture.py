"""The rooms: who may import whom, what may be named where."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "modgrad"
FILES = sorted(PACKAGE.rglob("*.py"))

# Each room and those it may import, downward only. Files at the edge may import all of them.
MAY_IMPORT = {
    "functional": set(),
    "graph": set(),
    "nn": {"functional", "graph"},
    "models": {"functional", "graph", "nn"},
    "optim": {"functional", "graph"},
    "interop": {"functional", "graph", "nn", "optim"},
    "step": {"functional", "graph", "optim", "interop"},
    "check": {"functional", "graph", "nn", "optim"},
    "export": {"functional", "graph", "nn", "optim", "interop", "step"},
}
EDGE = {"__init__", "__main__", "cli", "files", "helper", "playground"}


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    """The dotted names that a file imports, at its top or within functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are written out in full"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_room_is_known() -> None:
    assert {room(path) for path in FILES} == set(MAY_IMPORT) | EDGE


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_downward(path: Path) -> None:
    here = room(path)
    if here in EDGE:
        return
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "modgrad" and len(parts) > 1:
            assert parts[1] == here or parts[1] in MAY_IMPORT[here], f"{here} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_nothing_imports_the_whole_package(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert not any(alias.name == "modgrad" for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_autograd(path: Path) -> None:
    """PyTorch's layers, autograd and optimizers are named in `interop` and `export` only. The one exception refuses
    autograd's tensors, and must ask for them by name."""
    text = path.read_text()
    if room(path) in ("interop", "export"):
        return
    assert not re.search(r"torch\.(nn|autograd|optim)\b|from torch import .*\b(nn|autograd|optim)\b", text)
    assert not re.search(r"enable_grad|requires_grad_?\(", text)
    assert "requires_grad" not in text or path == PACKAGE / "graph" / "errors.py"


def test_files_are_one_room_each() -> None:
    """A file that outgrows 400 lines holds more than one purpose."""
    files = [*FILES, *Path(__file__).parent.rglob("*.py")]
    long = {str(path): n for path in files if (n := len(path.read_text().splitlines())) > 400}
    assert not long

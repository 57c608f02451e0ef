"""How much memory arrays take in this process, exactly: on CUDA by torch's allocator, on the CPU by counting blocks.

Nothing of Python or torch can tell how much memory torch, code compiled by torch.compile, oneDNN and XLA hold at their
peak. So memory.c stands in front of the C library's allocator (LD_PRELOAD, therefore only in processes that were
started inside `counting()`) and counts the blocks whose alignment shows that they hold arrays. The numbers are bytes
asked for, not pages: they repeat to the byte.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch

SOURCE = Path(__file__).parent / "memory.c"


def build(folder: Path) -> Path | None:
    """memory.c as a library in `folder`; None where that cannot be: no C compiler, or not glibc."""
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        return None
    library = folder / "memory.so"
    done = subprocess.run(
        [compiler, "-O2", "-shared", "-fPIC", str(SOURCE), "-o", str(library)], capture_output=True, check=False
    )
    return library if done.returncode == 0 else None


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Processes started meanwhile have these variables."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def counting(library: Path | None) -> dict[str, str]:
    """The environment in which a process counts. It calls `only_here` before it starts others."""
    return {} if library is None else {"LD_PRELOAD": str(library)}


def only_here() -> None:
    """What this process starts (C++ compilers) is not to count."""
    os.environ.pop("LD_PRELOAD", None)


class Meter:
    """`live()`: bytes that arrays hold now. `peak()`: the most since `reset()`. `None` where nothing counts."""

    def __init__(self) -> None:
        self._here = ctypes.CDLL(None)
        self._counts = hasattr(self._here, "aligned_live")
        if self._counts:
            self._here.aligned_live.restype = self._here.aligned_peak.restype = ctypes.c_size_t

    def live(self) -> int | None:
        if torch.cuda.is_initialized():
            return torch.cuda.memory_allocated()
        return int(self._here.aligned_live()) if self._counts else None

    def peak(self) -> int | None:
        if torch.cuda.is_initialized():
            return torch.cuda.max_memory_allocated()
        return int(self._here.aligned_peak()) if self._counts else None

    def reset(self) -> None:
        if torch.cuda.is_initialized():
            torch.cuda.reset_peak_memory_stats()
        elif self._counts:
            self._here.aligned_reset()

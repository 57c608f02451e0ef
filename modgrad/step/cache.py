"""Compiled programs on disk, looked up by content."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import torch

_ROOM = Path(__file__).parent


def folder() -> Path:
    """Where they are: MODGRAD_CACHE, or modgrad in the user's folder for caches."""
    if chosen := os.environ.get("MODGRAD_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "modgrad"


def key(content: Iterable[str]) -> str:
    """What a program is filed under: all that decides what it becomes. content: its operations, and how to compile."""
    digest = hashlib.sha256(_surroundings().encode())
    for line in content:
        digest.update(line.encode())
        digest.update(b"\n")
    return digest.hexdigest()[:32]


@cache
def _surroundings() -> str:
    """The machine, PyTorch, and the code that turns a program into its compiled form."""
    code = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(_ROOM.glob("*.py")))).hexdigest()
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    return "\n".join([torch.__version__, platform.python_version(), platform.machine(), _processor(), device, code])


def _processor(information: Path = Path("/proc/cpuinfo")) -> str:
    """What the processor can do, as machine code made for one may not run on another."""
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith(("flags", "Features")):
                return " ".join(sorted(line.partition(":")[2].split()))
    return torch.backends.cpu.get_cpu_capability()


def find_or_make(name: str, make: Callable[[Path], dict[str, Any]]) -> tuple[Path, dict[str, Any], bool]:
    """The folder of the entry `name`, what is noted about it, and whether it was there already.

    make: fills a folder, and returns the notes. Another process may be making the same: whoever is first stays.
    """
    entry = folder() / name
    about = _whole(entry)
    if about is not None:
        return entry, about, True
    entry.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{name[:8]}-", dir=entry.parent))
    try:
        about = make(draft)
        sizes = {path.name: path.stat().st_size for path in draft.iterdir()}
        (draft / _NOTES).write_text(json.dumps({"about": about, "sizes": sizes}))
        if _whole(entry) is None:
            shutil.rmtree(entry, ignore_errors=True)  # what is damaged
            draft.rename(entry)
    except OSError:
        if _whole(entry) is None:  # or somebody else was first
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    about = _whole(entry)
    assert about is not None
    return entry, about, False


def _whole(entry: Path) -> dict[str, Any] | None:
    """What is noted about an entry, or None if it is not there with all of its files."""
    try:
        notes = json.loads((entry / _NOTES).read_text())
        if all((entry / name).stat().st_size == size for name, size in notes["sizes"].items()):
            return notes["about"]
    except (OSError, ValueError, KeyError):
        pass
    return None


_NOTES = "about.json"

"""PyTorch's warnings about itself, while it exports or compiles."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Inside, PyTorch does not warn that it uses what it has deprecated, as its exporter and its compiler do."""
    with warnings.catch_warnings():
        for kind in (FutureWarning, DeprecationWarning):
            warnings.filterwarnings("ignore", ".*(torch|treespec)", kind)
        yield

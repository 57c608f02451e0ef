"""How large the built page is: `python -m modgrad.playground.sizes` prints the table of docs/playground.md."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path
from typing import NamedTuple

from modgrad.playground.server import PAGE

__all__ = ["Size", "sizes", "table"]

# What a row of the table is of, and the files of the page that belong to it.
ROWS = {
    "onnxruntime's WebAssembly": ("*.wasm",),
    "the page, its styles and scripts": ("*.html", "*.css", "*.svg", "main.js", "sw.js", "chunk-*.js", "ort.wasm.*.js"),
    "scripts for WebGPU, which the playground does not load": ("ort.bundle.*.js",),
    "a step of the small ReLU network with Adam: graph, prediction, state, manifest": ("models/relu-adam.*",),
    "the digits' network with SGD: graph, prediction, state, manifest": ("models/digits.*",),
    "the 1,797 digits": ("models/digits-data.*",),
    "all of `models/`": ("models/*",),
    "everything": ("**/*",),
}


class Size(NamedTuple):
    """Bytes of files, and when each is compressed by gzip, as servers send it."""

    bytes: int
    compressed: int


def sizes(page: Path = PAGE) -> dict[str, Size]:
    """The sizes of the rows of the table, by what they are of.   Raises FileNotFoundError where a row has no file."""
    found = {}
    for what, patterns in ROWS.items():
        files = [file for pattern in patterns for file in page.glob(pattern) if file.is_file()]
        if not files:
            raise FileNotFoundError(f"{page} has no {patterns[0]}: write make playground")
        contents = [file.read_bytes() for file in files]
        found[what] = Size(sum(map(len, contents)), sum(len(gzip.compress(each, 6, mtime=0)) for each in contents))
    return found


def table(rows: dict[str, Size]) -> str:
    """`rows` in Markdown."""
    lines = ["| what | size | compressed (gzip) |", "| --- | --- | --- |"]
    for what, size in rows.items():
        lines.append(f"| {what} | {size.bytes / 1e3:,.0f} kB | {size.compressed / 1e3:,.0f} kB |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(table(sizes()))

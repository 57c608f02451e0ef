"""The files of an export, there all together or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def names(path: str | os.PathLike[str]) -> dict[str, str]:
    """What the files for "mlp.onnx" are called, by what they are."""
    target = Path(path)
    if target.suffix != ".onnx" or not target.stem:
        raise ValueError(f"export_onnx({str(path)!r}): expected a name that ends in .onnx, as in 'mlp.onnx'")
    if target.name.endswith(".predict.onnx"):
        raise ValueError(
            f"export_onnx({str(path)!r}): that name belongs to the file for prediction, written beside the step's: "
            "write 'mlp.onnx'"
        )
    if not target.parent.is_dir():
        raise FileNotFoundError(f"export_onnx({str(path)!r}): there is no folder {target.parent}")
    stem = target.stem
    return {
        "step": target.name,
        "predict": f"{stem}.predict.onnx",
        "manifest": f"{stem}.json",
        "state": f"{stem}.safetensors",
    }


@contextmanager
def draft(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A folder beside `path` to write the files in. They take their places if all went well; nothing stays if not."""
    parent = Path(path).resolve().parent
    folder = parent / f".{Path(path).stem}.{os.getpid()}.{secrets.token_hex(4)}"
    folder.mkdir()
    try:
        yield folder
        for file in sorted(folder.iterdir()):
            file.replace(parent / file.name)
    finally:
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()

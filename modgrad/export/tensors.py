"""Files of tensors with numpy alone: `read`, `write`. The format is that of safetensors, which holds no code.

8 bytes: the length n of the header, little-endian; n bytes: the header, in JSON {name: {"dtype", "shape",
"data_offsets"}}; then the data, row-major and little-endian.   https://github.com/huggingface/safetensors
"""

from __future__ import annotations

import json
import math
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["read", "replaced", "write"]

Array = np.ndarray[Any, np.dtype[Any]]

_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
    "C64": "complex64",
}
_NAMES = {name: code for code, name in _DTYPES.items()}
_LONGEST = 100_000_000  # bytes of a header, as the format's own library has it


def read(path: str | os.PathLike[str]) -> dict[str, Array]:
    """The tensors of a .safetensors file by name, each an array of its own.

    BF16, which numpy does not have, gives float32 of the same values. Every other dtype that numpy does not have is
    refused, naming the tensor.   Raises ValueError for a file that is damaged or of another format.
    """
    source = Path(path)
    if not source.exists():
        raise FileNotFoundError(f"there is no file {source}")
    data = source.read_bytes()
    try:
        header, start = _header(data)
        return {name: _array(name, entry, data, start) for name, entry in _laid_out(header, len(data) - start)}
    except _DamagedError as error:
        raise ValueError(f"{source} is no safetensors file, or a damaged one: {error}. {_mend(source)}") from None
    except _UnknownError as error:
        raise ValueError(f"{source}: {error}") from None


def write(tensors: Mapping[str, Any], path: str | os.PathLike[str], metadata: Mapping[str, str] | None = None) -> None:
    """Write arrays by name to a .safetensors file. metadata: text by name, for whoever reads the file.

    The file is there whole or not at all: it is written beside, and then renamed.
    """
    target = Path(path)
    if target.suffix != ".safetensors":
        raise ValueError(f"expected the name of a .safetensors file, not {target.name!r}")
    arrays = {name: np.asarray(value) for name, value in tensors.items()}
    for name, array in arrays.items():
        if array.dtype.name not in _NAMES:
            raise TypeError(f"{name!r} is of dtype {array.dtype}, which safetensors does not have")
    if "__metadata__" in arrays:
        raise ValueError("a tensor cannot be named '__metadata__': the format keeps that name")
    header: dict[str, Any] = {"__metadata__": {"format": "pt", **(metadata or {})}}
    end = 0
    order = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))  # so that each is aligned
    for name in order:
        array = arrays[name]
        begin, end = end, end + array.nbytes
        header[name] = {"dtype": _NAMES[array.dtype.name], "shape": list(array.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with replaced(Path(os.path.realpath(target))) as beside, beside.open("wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for name in order:
            array = arrays[name]
            file.write(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes())


@contextmanager
def replaced(target: Path) -> Iterator[Path]:
    """A file to write beside `target`, which takes its place in one step, and only if nothing went wrong."""
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a folder")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {target.parent}")
    beside = target.with_name(f".{target.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        beside.touch(exist_ok=False)
        mode = beside.stat().st_mode  # as new files are to have it here
        yield beside
        beside.chmod(mode)
        with beside.open("rb+") as file:
            os.fsync(file.fileno())
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


class _DamagedError(Exception):
    """The bytes are not what the format says."""


class _UnknownError(Exception):
    """The file is right, and holds what numpy cannot."""


def _mend(source: Path) -> str:
    if source.suffix in (".pt", ".pth"):
        return "Where there is PyTorch, write modgrad.save(modgrad.load(path), 'name.safetensors')"
    return "Write it anew, as by modgrad.save(model.state_dict(), path)"


def _header(data: bytes) -> tuple[dict[str, Any], int]:
    """The tensors' entries, and where the data begin."""
    if len(data) < 8:
        raise _DamagedError(f"it has {len(data)} bytes")
    length = int.from_bytes(data[:8], "little")
    if length > _LONGEST or 8 + length > len(data):
        raise _DamagedError(f"its header is said to have {length} bytes, the file has {len(data)}")
    try:
        header = json.loads(data[8 : 8 + length], object_pairs_hook=_once)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise _DamagedError(f"its header is not JSON: {error}") from None
    if not isinstance(header, dict):
        raise _DamagedError("its header is no JSON object")
    header.pop("__metadata__", None)
    return header, 8 + length


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _DamagedError("its header names something twice")
    return found


def _laid_out(header: dict[str, Any], size: int) -> list[tuple[str, dict[str, Any]]]:
    """The entries in the order of their data, which must fill the file without gaps or overlaps."""
    for name, entry in header.items():
        if not _is_entry(entry):
            raise _DamagedError(f"its entry of {name!r} is {str(entry)[:100]}")
    entries = sorted(header.items(), key=lambda item: item[1]["data_offsets"])
    end = 0
    for name, entry in entries:
        first, last = entry["data_offsets"]
        if first != end or last < first:
            raise _DamagedError(f"the data of {name!r} are from byte {first} to {last}, expected from {end}")
        end = last
    if end != size:
        raise _DamagedError(f"its tensors have {end} bytes, the file {size}")
    return entries


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("dtype"), str):
        return False
    numbers = (entry.get("shape"), entry.get("data_offsets"))
    if not all(isinstance(x, list) and all(type(n) is int and n >= 0 for n in x) for x in numbers):
        return False
    return len(entry["data_offsets"]) == 2


def _array(name: str, entry: dict[str, Any], data: bytes, start: int) -> Array:
    code, shape = entry["dtype"], tuple(entry["shape"])
    begin, end = entry["data_offsets"]
    if code == "BF16":
        stored = np.dtype("<u2")
    elif code in _DTYPES:
        stored = np.dtype(_DTYPES[code]).newbyteorder("<")
    else:
        raise _UnknownError(f"{name!r} is of dtype {code}, which numpy does not have")
    count = math.prod(shape)
    if count * stored.itemsize != end - begin:
        raise _DamagedError(f"{name!r} of shape {shape} and dtype {code} is said to have {end - begin} bytes")
    array = np.frombuffer(data, stored, count, start + begin)
    if code == "BF16":  # the upper half of a float32
        return (array.astype(np.uint32) << np.uint32(16)).view(np.float32).reshape(shape)
    return array.astype(stored.newbyteorder("=")).reshape(shape)

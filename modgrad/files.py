"""State to and from files: `save`, `load`, `read_metadata`.

Tensors and their names go into a safetensors file, which any program that knows the format reads, and which holds no
code; what else there is goes into its metadata, as JSON. A file of PyTorch's own format is read, without the pickled
objects that could run code.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from modgrad.export.tensors import replaced
from modgrad.graph.errors import describe

__all__ = ["load", "read_metadata", "save"]

_plainly = torch._C.DisableTorchFunctionSubclass
_OURS = "modgrad"  # the entry of the metadata that holds what is not a tensor
_PYTORCHS = (".pt", ".pth")


def save(obj: Any, path: str | os.PathLike[str], metadata: Mapping[str, str] | None = None) -> None:
    """Write `obj` to a .safetensors file: a state_dict, or dicts, lists and tuples of tensors, numbers, text, None.

    >>> import tempfile
    >>> from modgrad import load, nn, optim, save
    >>> model = nn.Linear(3, 2)
    >>> optimizer = optim.Adam(model.parameters())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     checkpoint = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": 3}
    ...     save(checkpoint, f"{folder}/checkpoint.safetensors")
    ...     again = load(f"{folder}/checkpoint.safetensors")
    >>> model.load_state_dict(again["model"])
    <All keys matched successfully>
    >>> again["step"]
    3

    A tensor is stored under its keys, joined by dots: those of a state_dict under their own names. One that appears
    twice, as a tied parameter does, is stored once. What cannot be stored is refused by name. metadata: text by name,
    for whoever reads the file. The file is there whole or not at all: it is written beside, and then renamed.
    """
    target = _target(path)
    text = dict(metadata or {})
    for name, value in text.items():
        if not isinstance(name, str) or not isinstance(value, str) or name == _OURS:
            raise TypeError(f"save(metadata=...): {name!r} is {value!r}: expected text by name, not named {_OURS!r}")
    writing = _Writing()
    tree = writing.encoded(obj, ())
    if writing.problems:
        raise TypeError("save cannot store\n  " + "\n  ".join(writing.problems))
    text = {"format": "pt", **text, _OURS: json.dumps(tree, allow_nan=False, separators=(",", ":"))}
    from safetensors.torch import save_file  # noqa: PLC0415 (here, so that `import modgrad` does without)

    with replaced(target) as beside:
        save_file(writing.tensors, beside, text)


def load(path: str | os.PathLike[str], device: str | torch.device = "cpu") -> Any:
    """What `save` wrote: the same tree of dicts, lists and tuples, with its tensors on `device`.

    Another program's .safetensors file gives a dict of its tensors. A .pt or .pth file is read with
    weights_only=True, which takes tensors and plain values and runs no code; what wants more is refused.
    """
    source = _source(path)
    torch.empty(0, device=device)  # which raises where there is no such device
    if source.suffix in _PYTORCHS:
        with _readable(source, "is damaged, or holds objects that only running code from it could make"):
            return _detached(torch.load(source, map_location=device, weights_only=True))
    with _opened(source, str(device)) as file:
        text = file.metadata() or {}
        tensors = {}
        for name in file.keys():  # noqa: SIM118 (no dict)
            tensor = file.get_tensor(name)
            # on the CPU it is a view of the file, which somebody may write to
            tensors[name] = tensor.clone() if tensor.device.type == "cpu" else tensor
        return _decoded(json.loads(text[_OURS]), tensors) if _OURS in text else tensors


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """The metadata of a .safetensors file, without reading its tensors."""
    source = _source(path)
    if source.suffix in _PYTORCHS:
        raise ValueError(f"{source}: only .safetensors files have metadata")
    with _opened(source, "cpu") as file:
        return {name: value for name, value in (file.metadata() or {}).items() if name != _OURS}


# Writing


class _Writing:
    """The tensors of an object by name, and the rest of it as what JSON knows."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.problems: list[str] = []
        self._names: dict[Any, str] = {}  # of a tensor, or of what it shares with its like -> its name
        self._alive: list[Any] = []  # so that ids stay their own
        self._storages: set[Any] = set()
        self._within: set[int] = set()  # the containers around what is encoded now

    def encoded(self, x: Any, path: tuple[Any, ...]) -> Any:
        """`x` as JSON. What JSON has no form for is a dict of one key that begins with $."""
        if x is None or type(x) in (bool, int, str):
            return x
        if isinstance(x, float):
            return float(x) if math.isfinite(x) else {"$float": str(float(x))}
        if isinstance(x, Tensor):
            return {"$tensor": self._stored(x, path)}
        if not isinstance(x, (dict, list, tuple)) or (isinstance(x, tuple) and type(x) not in (tuple, torch.Size)):
            hint = "store its state_dict()" if hasattr(x, "state_dict") else "store tensors, numbers, text, or None"
            return self._refused(path, x, hint)
        if id(x) in self._within:
            return self._refused(path, x, "holds itself")
        self._within.add(id(x))
        form = self._dict(x, path) if isinstance(x, dict) else self._items(x, path)
        self._within.discard(id(x))
        return form

    def _items(self, x: list[Any] | tuple[Any, ...], path: tuple[Any, ...]) -> Any:
        items = [self.encoded(item, (*path, i)) for i, item in enumerate(x)]
        return items if isinstance(x, list) else {"$tuple": items}

    def _dict(self, x: dict[Any, Any], path: tuple[Any, ...]) -> Any:
        if all(type(key) is str and not key.startswith("$") for key in x):
            return {key: self.encoded(value, (*path, key)) for key, value in x.items()}
        for key in x:
            if not _is_key(key):
                self._refused(path, key, "a key must be text or a number, or a tuple of these")
        return {"$dict": [[self.encoded(k, (*path, k)), self.encoded(v, (*path, k))] for k, v in x.items()]}

    def _refused(self, path: tuple[Any, ...], x: Any, why: str) -> None:
        self.problems.append(f"{_shown(path)}, {describe(x)[:100]}: {why}")

    def _stored(self, tensor: Tensor, path: tuple[Any, ...]) -> str | None:
        """The name that `tensor` is stored under."""
        with _plainly():
            value: Any = tensor.detach()
            why = _unfit(value)
            if why is not None:
                self._refused(path, tensor, why)
                return None
            storage = value.device, value.untyped_storage().data_ptr()
            same: Any = id(tensor)
            if value.numel():
                same = (storage, value.storage_offset(), value.shape, value.stride(), value.dtype)
            if same in self._names:
                return self._names[same]
            self._alive += [tensor, value]
            shared = storage in self._storages
            self._storages.add(storage)
            value = value.resolve_conj().resolve_neg().contiguous()
            if shared and value.untyped_storage().data_ptr() == storage[1]:
                value = value.clone()  # of two that overlap, the format wants each by itself
        name = ".".join(map(str, path)) or "tensor"
        while name in self.tensors or name == "__metadata__":
            name += "_"
        self.tensors[name] = value
        self._names[same] = name
        return name


def _unfit(value: Any) -> str | None:
    """Why a tensor cannot be stored."""
    if type(value) is not Tensor:
        return "is no plain tensor"
    if value.layout is not torch.strided:
        return "is not dense: write tensor.to_dense()"
    if value.is_meta:
        return "has no values, on the meta device"
    return None if _storable(value.dtype) else "safetensors has no such dtype"


@cache
def _storable(dtype: torch.dtype) -> bool:
    """Whether the safetensors that is installed knows this dtype: each version knows more."""
    from safetensors import SafetensorError  # noqa: PLC0415
    from safetensors.torch import load as read  # noqa: PLC0415
    from safetensors.torch import save as write  # noqa: PLC0415

    try:
        return read(write({"": torch.empty(1, dtype=dtype)}))[""].dtype is dtype
    except (KeyError, RuntimeError, ValueError, SafetensorError):
        return False


def _is_key(key: Any) -> bool:
    if type(key) is tuple:
        return all(map(_is_key, key))
    return key is None or type(key) in (bool, int, str) or (isinstance(key, float) and math.isfinite(key))


def _shown(path: tuple[Any, ...]) -> str:
    return "".join(f"[{key!r}]" for key in path) or "what was given"


def _target(path: str | os.PathLike[str]) -> Path:
    target = Path(path)
    if target.suffix != ".safetensors":
        hint = " For PyTorch's own format write torch.save(obj, path)" if target.suffix in _PYTORCHS else ""
        raise ValueError(f"save writes .safetensors files, not {target.name!r}.{hint}")
    target = Path(os.path.realpath(target))  # what a link leads to is replaced, not the link
    return target


# Reading


def _source(path: str | os.PathLike[str]) -> Path:
    source = Path(path)
    if source.suffix not in (".safetensors", *_PYTORCHS):
        raise ValueError(f"load reads .safetensors, .pt and .pth files, not {source.name!r}")
    if source.is_dir():
        raise IsADirectoryError(f"{source} is a folder")
    if not source.exists():
        raise FileNotFoundError(f"there is no file {source}")
    return source


@contextmanager
def _readable(source: Path, otherwise: str) -> Iterator[None]:
    try:
        yield
    except (OSError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise ValueError(f"{source} {otherwise}: {error}") from error


@contextmanager
def _opened(source: Path, device: str) -> Iterator[Any]:
    from safetensors import safe_open  # noqa: PLC0415

    with _readable(source, "is no safetensors file, or a damaged one"), safe_open(source, "pt", device) as file:
        yield file


def _decoded(tree: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(tree, list):
        return [_decoded(item, tensors) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if len(tree) == 1:
        ((form, inner),) = tree.items()
        if form in _FORMS:
            return _FORMS[form](inner, tensors)
    return {key: _decoded(value, tensors) for key, value in tree.items()}


_FORMS: dict[str, Callable[[Any, dict[str, Tensor]], Any]] = {
    "$tensor": lambda name, tensors: tensors[name],
    "$tuple": lambda items, tensors: tuple(_decoded(item, tensors) for item in items),
    "$dict": lambda pairs, tensors: {_decoded(k, tensors): _decoded(v, tensors) for k, v in pairs},
    "$float": lambda text, tensors: float(text),
}


def _detached(x: Any) -> Any:
    """Without PyTorch's parameters, which ask its autograd for gradients. Dicts and lists stay the same objects."""
    if isinstance(x, Tensor):
        return x.detach()
    if isinstance(x, dict):
        for key in x:
            x[key] = _detached(x[key])
    elif isinstance(x, list):
        x[:] = map(_detached, x)
    elif type(x) is tuple:
        return tuple(map(_detached, x))
    return x

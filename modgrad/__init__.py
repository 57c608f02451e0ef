"""modgrad: deep learning with backpropagation at the level of modules, on plain tensors, without autograd.

Each room is imported when it is first asked for. So `modgrad.export.OnnxTrainer` runs where PyTorch is not installed.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modgrad import check, export, functional, graph, helper, interop, models, nn, optim, step
    from modgrad.files import load, read_metadata, save

__version__ = "0.1.0"
__all__ = [
    "check",
    "export",
    "functional",
    "graph",
    "helper",
    "interop",
    "load",
    "models",
    "nn",
    "optim",
    "read_metadata",
    "save",
    "step",
]
_FILES = ("load", "read_metadata", "save")  # what `files` gives; every other name is a room's


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'modgrad' has no attribute {name!r}")
    try:
        found = getattr(import_module("modgrad.files"), name) if name in _FILES else import_module(f"modgrad.{name}")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "torch":
            raise
        raise ModuleNotFoundError(
            f"modgrad.{name} needs PyTorch, which is not installed here: pip install torch. Without it there is "
            "modgrad.export.OnnxTrainer, which runs exported training steps",
            name=error.name,
        ) from error
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

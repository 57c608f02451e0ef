"""modgrad: deep learning with backpropagation at the level of modules, on plain tensors, without autograd.

Where PyTorch is not installed there is `modgrad.export.OnnxTrainer` alone, which runs exported training steps.
"""

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

try:
    import torch as _torch  # noqa: F401
except ModuleNotFoundError as _error:
    if _error.name != "torch":
        raise

    def __getattr__(name: str) -> object:
        if name not in __all__ or name == "export":  # which is about to be imported
            raise AttributeError(f"module 'modgrad' has no attribute {name!r}")
        raise ModuleNotFoundError(
            f"modgrad.{name} needs PyTorch, which is not installed here: pip install torch. Without it there is "
            "modgrad.export.OnnxTrainer, which runs exported training steps",
            name="torch",
        )
else:
    from modgrad import check, functional, graph, helper, interop, models, nn, optim, step
    from modgrad.files import load, read_metadata, save

from modgrad import export

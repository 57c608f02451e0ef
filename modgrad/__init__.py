"""modgrad: deep learning with backpropagation at the level of modules, on plain tensors, without autograd."""

from modgrad import check, functional, graph, helper, interop, models, nn, optim, step
from modgrad.files import load, read_metadata, save

__version__ = "0.1.0"
__all__ = [
    "check",
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

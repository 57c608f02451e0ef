"""modgrad: deep learning with backpropagation at the level of modules, on plain tensors, without autograd."""

from modgrad import check, functional, graph, helper, interop, models, nn, optim, step

__version__ = "0.1.0"
__all__ = ["check", "functional", "graph", "helper", "interop", "models", "nn", "optim", "step"]

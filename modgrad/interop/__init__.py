"""What of PyTorch's own objects meets modgrad's. The only room that may name PyTorch's layers and optimizers.

`optimizers`: PyTorch's optimizers work on modgrad's parameters. `functions`: PyTorch's functions of layers work on
Variables. `switch`: PyTorch's name of `grad_f`. Importing the package sets these up. `modules`: whole models, by
`from_torch` and `to_torch`.
"""

from modgrad.interop import functions, optimizers, switch
from modgrad.interop.modules import from_torch, to_torch

__all__ = ["from_torch", "functions", "optimizers", "switch", "to_torch"]

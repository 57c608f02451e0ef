"""What of PyTorch's own objects meets modgrad's. The only room that may name PyTorch's layers and optimizers.

`optimizers`: PyTorch's optimizers work on modgrad's parameters. `functions`: PyTorch's functions of layers work on
Variables. Importing the package sets both up. `modules`: whole models, by `from_torch` and
`to_torch`.
"""

from modgrad.interop import functions, optimizers
from modgrad.interop.modules import from_torch, to_torch

__all__ = ["from_torch", "functions", "optimizers", "to_torch"]

"""What of PyTorch's own objects meets modgrad's. The only room that may name PyTorch's layers and optimizers.

`optimizers`: PyTorch's optimizers work on modgrad's parameters. `functions`: PyTorch's functions of layers work on
Variables. Importing the package sets both up.
"""

from modgrad.interop import functions, optimizers

__all__ = ["functions", "optimizers"]

"""Operators on Variables and Parameters: the primitives behind `x + y`, `x[0]`, `torch.cat` and the like.

Importing this package enters them in `graph.dispatch.OPERATORS`. Each entry has the arguments of the PyTorch function
that it stands in for, and calls a primitive. `base` is what they are made of; `listing` tells what there is, and where
the formulas stand.
"""

from modgrad.nn.operators import arithmetic as arithmetic
from modgrad.nn.operators import attention as attention
from modgrad.nn.operators import copying as copying
from modgrad.nn.operators import einsum as einsum
from modgrad.nn.operators import elementwise as elementwise
from modgrad.nn.operators import indexing as indexing
from modgrad.nn.operators import joining as joining
from modgrad.nn.operators import order as order
from modgrad.nn.operators import product as product
from modgrad.nn.operators import reduction as reduction
from modgrad.nn.operators import shape as shape
from modgrad.nn.operators import statistics as statistics
from modgrad.nn.operators.attention import scaled_dot_product_attention as scaled_dot_product_attention

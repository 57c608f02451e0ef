"""Pooling over one to three dimensions, each function beside its derivative.

Shapes: input (N, C, ...) or (C, ...), with as many dimensions after the channels as there are sizes. `max`: the largest
of each window, and what puts values back. `windows`: the same of windows that divide the input, or lie by chance.
`average`: means. `power`: p-norms.
"""

from modgrad.functional.pooling.average import *
from modgrad.functional.pooling.max import *
from modgrad.functional.pooling.power import *
from modgrad.functional.pooling.windows import *

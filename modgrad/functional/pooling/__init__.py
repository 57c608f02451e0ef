"""Pooling over one to three dimensions, each function beside its derivative.

Shapes: input (N, C, ...) or (C, ...), with as many dimensions after the channels as the sizes are given for. `max`: the
largest of each window, at even, divided or random places; and what puts values back. `average`: means. `power`: p-norms.
"""

from modgrad.functional.pooling.average import *
from modgrad.functional.pooling.max import *
from modgrad.functional.pooling.power import *
from modgrad.functional.pooling.windows import *

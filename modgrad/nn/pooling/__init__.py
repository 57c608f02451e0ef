"""Pooling layers, over one to three dimensions. `base`: what they share. `max`: the largest of each window, and back.
`average`: means. `adaptive`: of windows that divide the input. `power`: p-norms. `fractional`: of windows by chance.
"""

from modgrad.nn.pooling.adaptive import *
from modgrad.nn.pooling.average import *
from modgrad.nn.pooling.fractional import *
from modgrad.nn.pooling.max import *
from modgrad.nn.pooling.power import *

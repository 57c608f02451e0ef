"""Recurrent layers: `base` has what they share, `layers` those over a sequence, `cells` those of one step."""

from modgrad.nn.recurrent.base import *
from modgrad.nn.recurrent.cells import *
from modgrad.nn.recurrent.layers import *

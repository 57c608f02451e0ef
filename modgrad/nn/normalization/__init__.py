"""Normalization layers. `base`: what they share. `running`: those with running statistics, over a batch and over each
sample by itself. `last`: over the last dimensions. `group`: over groups of channels. `local_response`: by neighbours.
"""

from modgrad.nn.normalization.group import *
from modgrad.nn.normalization.last import *
from modgrad.nn.normalization.local_response import *
from modgrad.nn.normalization.running import *

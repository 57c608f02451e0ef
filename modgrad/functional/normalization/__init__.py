"""Normalizations, each with its derivatives. Where there are weight and bias, gradients come as a triple: of the input,
the weight, the bias; `wanted` says which of them to give, and the others are None.

`batch`: over a batch, and over each sample's channels by themselves. `last`: over the last dimensions. `group`: over
groups of channels. `local_response`: by neighbouring channels. `unit`: to length 1.
"""

from modgrad.functional.normalization.batch import *
from modgrad.functional.normalization.group import *
from modgrad.functional.normalization.last import *
from modgrad.functional.normalization.local_response import *
from modgrad.functional.normalization.unit import *

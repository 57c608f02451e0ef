"""Recurrent layers, one direction of one layer over all its time steps, each beside its derivative.

`time`: what they share, the records of their arguments and the walk over the steps, of padded and of packed sequences.
`rnn`, `gru`, `lstm`: one step as a formula, and the layer: the formula step by step, and a loop with fewer operations
that runs in its place. `onednn`: the kernel that runs an LSTM on the CPU.
"""

from modgrad.functional.recurrent.gru import *
from modgrad.functional.recurrent.lstm import *
from modgrad.functional.recurrent.rnn import *
from modgrad.functional.recurrent.time import *

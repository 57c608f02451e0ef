"""Activations, each beside its derivative.

`rectifier`: relu and its kind, straight on either side of 0. `hard`: others made of straight pieces. `exponential`:
elu, celu, selu. `smooth`: of sigmoid, tanh and the normal distribution, and the gate. `softmax`: along a dimension.
"""

from modgrad.functional.activation.exponential import *
from modgrad.functional.activation.hard import *
from modgrad.functional.activation.rectifier import *
from modgrad.functional.activation.smooth import *
from modgrad.functional.activation.softmax import *

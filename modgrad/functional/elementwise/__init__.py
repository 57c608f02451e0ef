"""Functions of each value by itself, each beside its derivative; those of several tensors broadcast them.

A derivative that stands here has the broadcast shape; who calls it brings it back with `sum_to_shape`. By sub-family:
`powers`, `trigonometric`, `special`, `choice`, `mixing`. The four operations and powers are in `arithmetic`.
"""

from modgrad.functional.elementwise.choice import *
from modgrad.functional.elementwise.mixing import *
from modgrad.functional.elementwise.powers import *
from modgrad.functional.elementwise.special import *
from modgrad.functional.elementwise.trigonometric import *

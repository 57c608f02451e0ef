"""Functions over whole dimensions, each beside its derivative.

`dims` are numbers from 0 up, and name every dimension that is reduced. By sub-family: `sums`, `spread` (variances and
norms), `order` (extremes, medians, sorting) and `cumulative`.
"""

from modgrad.functional.reduction.cumulative import *
from modgrad.functional.reduction.order import *
from modgrad.functional.reduction.spread import *
from modgrad.functional.reduction.sums import *

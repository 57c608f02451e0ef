"""Pure functions on plain tensors, each beside its derivative.

`f` computes, `f_backward` is its derivative; where there are several, `f_grad_input`, `f_grad_weight`, ... In all of
them `grad` is dL/dy, the gradient of the loss with respect to the output. By family: `activation`, `arithmetic`,
`linear`, `convolution`, `normalization`, `pooling`, `reduction`, `shape`, `loss`. `kernel` holds what lets a fast
kernel stand in for a formula; inside `formulas()` the formulas run.
"""

from modgrad.functional.activation import *
from modgrad.functional.arithmetic import *
from modgrad.functional.convolution import *
from modgrad.functional.kernel import PAIRS, formulas, kernel
from modgrad.functional.linear import *
from modgrad.functional.loss import *
from modgrad.functional.normalization import *
from modgrad.functional.pooling import *
from modgrad.functional.reduction import *
from modgrad.functional.shape import *

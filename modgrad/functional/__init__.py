"""Pure functions on plain tensors, each beside its derivative.

`f` computes, `f_backward` is its derivative; where there are several, `f_grad_input`, `f_grad_weight`, ... In all of
them `grad` is dL/dy, the gradient of the loss with respect to the output. A file or folder is a family, and says in
its `__all__` what it gives to others. `kernel` holds what lets a fast kernel stand in for a formula; inside
`formulas()` the formulas run.
"""

from modgrad.functional.activation import *
from modgrad.functional.arithmetic import *
from modgrad.functional.attention import *
from modgrad.functional.bilinear import *
from modgrad.functional.clipping import *
from modgrad.functional.convolution import *
from modgrad.functional.distance import *
from modgrad.functional.dropout import *
from modgrad.functional.elementwise import *
from modgrad.functional.embedding import *
from modgrad.functional.grad_scaling import *
from modgrad.functional.images import *
from modgrad.functional.indexing import *
from modgrad.functional.kernel import *
from modgrad.functional.linear import *
from modgrad.functional.loss import *
from modgrad.functional.normalization import *
from modgrad.functional.packing import *
from modgrad.functional.padding import *
from modgrad.functional.pooling import *
from modgrad.functional.recurrent import *
from modgrad.functional.reduction import *
from modgrad.functional.scatter_reduce import *
from modgrad.functional.shape import *
from modgrad.functional.vectors import *

"""Losses, each beside its derivatives.

`classes`: of class indices or probabilities. `linear_cross_entropy`: that of a large vocabulary, with the linear map
that scores it. `ctc`: of labellings shorter than their sequence. `binary`: of two classes. `likelihood`: of a
distribution. `margin`: zero from some margin on. `regression`: of the difference to a target. `reduction`: how terms
become one number.
"""

from modgrad.functional.loss.binary import *
from modgrad.functional.loss.classes import *
from modgrad.functional.loss.ctc import *
from modgrad.functional.loss.likelihood import *
from modgrad.functional.loss.linear_cross_entropy import *
from modgrad.functional.loss.margin import *
from modgrad.functional.loss.reduction import *
from modgrad.functional.loss.regression import *

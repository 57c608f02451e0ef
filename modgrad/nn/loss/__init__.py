"""Losses, by sub-family as in `functional/loss`. A target may be a Variable too, where its gradient makes sense.

`base`: what all share. `termwise`: what those share that have a term for each value of their inputs.
`adaptive_softmax`: of many classes, in clusters by how frequent they are.
"""

from modgrad.nn.loss.adaptive_softmax import *
from modgrad.nn.loss.binary import *
from modgrad.nn.loss.classes import *
from modgrad.nn.loss.ctc import *
from modgrad.nn.loss.likelihood import *
from modgrad.nn.loss.linear_cross_entropy import *
from modgrad.nn.loss.margin import *
from modgrad.nn.loss.regression import *

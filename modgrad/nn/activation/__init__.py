"""Activation layers, by sub-family as in `functional/activation`; `base` holds what elementwise ones have in common."""

from modgrad.nn.activation.exponential import *
from modgrad.nn.activation.hard import *
from modgrad.nn.activation.rectifier import *
from modgrad.nn.activation.rectifier import check_prelu as check_prelu
from modgrad.nn.activation.smooth import *
from modgrad.nn.activation.softmax import *

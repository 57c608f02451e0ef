"""Layers, losses and containers, under PyTorch's names; and what writing one's own takes, from `graph`.

Each family's file says in its `__all__` what is exported from here.
"""

import typing as _typing

from modgrad.graph import Buffer as Buffer
from modgrad.graph import Call as Call
from modgrad.graph import Module as Module
from modgrad.graph import Parameter as Parameter
from modgrad.graph import Primitive as Primitive
from modgrad.graph import Variable as Variable
from modgrad.graph import autocast as autocast
from modgrad.graph import keep_values as keep_values
from modgrad.graph import no_grad as no_grad
from modgrad.graph import recompute as recompute
from modgrad.nn import init as init
from modgrad.nn import operators as operators
from modgrad.nn import utils as utils
from modgrad.nn.activation import *
from modgrad.nn.bilinear import *
from modgrad.nn.container import *
from modgrad.nn.convolution import *
from modgrad.nn.distance import *
from modgrad.nn.dropout import *
from modgrad.nn.embedding import *
from modgrad.nn.images import *
from modgrad.nn.linear import *
from modgrad.nn.loss import *
from modgrad.nn.multihead_attention import *
from modgrad.nn.normalization import *
from modgrad.nn.padding import *
from modgrad.nn.parameters import *
from modgrad.nn.pooling import *
from modgrad.nn.recurrent import *
from modgrad.nn.transformer import *

if not _typing.TYPE_CHECKING:  # which would take it that any name is there

    def __getattr__(name):
        from modgrad.nn.refused import refuse  # noqa: PLC0415 (only when something is missing)

        raise refuse(__name__, name)

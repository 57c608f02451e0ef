"""What goes with layers and is none, under PyTorch's names."""

import typing as _typing

from modgrad.nn.utils import rnn as rnn
from modgrad.nn.utils.clip_grad import clip_grad_norm_ as clip_grad_norm_
from modgrad.nn.utils.clip_grad import clip_grad_value_ as clip_grad_value_
from modgrad.nn.utils.clip_grad import clip_grads_with_norm_ as clip_grads_with_norm_
from modgrad.nn.utils.clip_grad import get_total_norm as get_total_norm
from modgrad.nn.utils.convert_parameters import parameters_to_vector as parameters_to_vector
from modgrad.nn.utils.convert_parameters import vector_to_parameters as vector_to_parameters

if not _typing.TYPE_CHECKING:  # which would take it that any name is there

    def __getattr__(name):
        from modgrad.nn.refused import refuse  # noqa: PLC0415 (only when something is missing)

        raise refuse(__name__, name)

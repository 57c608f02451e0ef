"""`torch.nn.utils.rnn` on Variables: the operations that its functions are made of."""

from __future__ import annotations

from typing import Any

import torch

from modgrad.graph.dispatch import operator
from modgrad.nn.utils import rnn

_pad_sequence: Any = torch._C._nn.pad_sequence


@operator(torch._pack_padded_sequence)
def _pack(input: Any, lengths: Any, batch_first: bool) -> Any:
    packed = rnn.pack_padded_sequence(input, lengths, batch_first)
    return packed.data, packed.batch_sizes


@operator(torch._pad_packed_sequence)
def _pad_packed(data: Any, batch_sizes: Any, batch_first: bool, padding_value: float, total_length: int) -> Any:
    return rnn.pad_packed_sequence(rnn.PackedSequence(data, batch_sizes), batch_first, padding_value, total_length)


@operator(_pad_sequence)
def _pad(sequences: Any, batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right") -> Any:
    return rnn.pad_sequence(sequences, batch_first, padding_value, padding_side)

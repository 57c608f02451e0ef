"""Rows of the table: recurrent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from modgrad import nn
from tests.cases.table import Case, Inputs, normal


class FlatLSTM(nn.LSTM):
    """Takes and gives its tensors in one row, as the contract's tests do."""

    def forward(self, input: Any, *hx: Any) -> Any:
        output, last = super().forward(input, hx or None)
        return output, *last


class TorchFlatLSTM(torch.nn.LSTM):
    def forward(self, input: Any, *hx: Any) -> Any:
        output, last = super().forward(input, hx or None)
        return output, *last


def recurrent(label: str, *inputs: Callable[[], Inputs], args: tuple[int, ...], **rest: Any) -> Case:
    row = {key: rest.pop(key) for key in ("empty",) if key in rest}
    return Case(
        name=f"LSTM-{label}",
        make=lambda: FlatLSTM(*args, **rest),
        make_twin=lambda: TorchFlatLSTM(*args, **rest),
        inputs=list(inputs),
        primitives=("LSTMDirection",),
        dtypes=(torch.float32,),  # of bfloat16 test_recurrent tells
        **row,
    )


CASES = [
    recurrent(
        "one",
        normal((5, 2, 3), (1, 2, 4), (1, 2, 4)),
        normal((5, 2, 3)),
        normal((1, 2, 3)),
        normal((5, 3)),
        normal((5, 3), (1, 4), (1, 4)),
        args=(3, 4),
        empty=normal((5, 0, 3)),
    ),
    recurrent("no bias", normal((2, 5, 3), (1, 2, 4), (1, 2, 4)), args=(3, 4), bias=False, batch_first=True),
    recurrent(
        "two layers both ways",
        normal((2, 4, 3)),
        normal((2, 4, 3), (4, 2, 2), (4, 2, 2)),
        normal((4, 3), (4, 2), (4, 2)),
        args=(3, 2, 2),
        batch_first=True,
        bidirectional=True,
    ),
]

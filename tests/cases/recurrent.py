"""Rows of the table: recurrent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from modgrad import nn
from tests.cases.table import Case, Inputs, normal, operator, twin

SIZES = torch.tensor([3, 3, 2, 1])  # of packed sequences of 4, 3 and 2 steps
ORDER, BACK = torch.tensor([2, 0, 1]), torch.tensor([1, 2, 0])


def flat(layer: type[Any], packed: type[Any] | None = None) -> type[Any]:
    """The layer, taking and giving its tensors in one row, as the contract's tests do.

    packed: the class of packed sequences; then data is given, of sequences of `SIZES` that were in `ORDER`.
    """

    class Flat(layer):  # type: ignore[misc]
        def forward(self, input: Any, *hx: Any) -> Any:
            if packed is not None:
                input = packed(input, SIZES, ORDER, BACK)
            states: Any = hx if len(hx) > 1 else hx[0] if hx else None
            output, last = super().forward(input, states)
            return output.data if packed is not None else output, *(last if isinstance(last, tuple) else (last,))

    return Flat


def recurrent(name: str, label: str, *inputs: Callable[[], Inputs], args: tuple[Any, ...], **rest: Any) -> Case:
    row = {key: rest.pop(key) for key in ("empty",) if key in rest}
    kinds = (nn.utils.rnn.PackedSequence, twin.utils.rnn.PackedSequence) if rest.pop("packed", False) else (None, None)
    return Case(
        name=f"{name}-{label}",
        make=lambda: flat(getattr(nn, name), kinds[0])(*args, **rest),
        make_twin=lambda: flat(getattr(twin, name), kinds[1])(*args, **rest),
        inputs=list(inputs),
        primitives=("Direction",),
        # Of bfloat16 test_recurrent tells, and of projections, about which PyTorch warns.
        dtypes=() if "proj_size" in rest else (torch.float32,),
        **row,
    )


def family(name: str, states: int, *args: Any, **options: Any) -> list[Case]:
    """The rows of a layer with so many states."""
    one, four = [(1, 2, 4)] * states, [(4, 2, 2)] * states
    return [
        recurrent(
            name,
            "one",
            normal((5, 2, 3), *one),
            normal((5, 2, 3)),
            normal((1, 2, 3)),
            normal((5, 3)),
            normal((5, 3), *[(1, 4)] * states),
            args=(3, 4, *args),
            empty=normal((5, 0, 3)),
            **options,
        ),
        recurrent(
            name, "no bias", normal((2, 5, 3), *one), args=(3, 4, *args), bias=False, batch_first=True, **options
        ),
        recurrent(
            name,
            "two layers both ways",
            normal((2, 4, 3)),
            normal((2, 4, 3), *four),
            normal((4, 3), *[(4, 2)] * states),
            args=(3, 2, 2),
            batch_first=True,
            bidirectional=True,
            **options,
        ),
        recurrent(
            name,
            "packed",
            normal((9, 3)),
            normal((9, 3), *[(4, 3, 2)] * states),
            args=(3, 2, 2),
            bidirectional=True,
            packed=True,
            **options,
        ),
    ]


def cell(name: str, states: int, **options: Any) -> Case:
    class Flat(getattr(nn, name)):  # type: ignore[misc]
        def __call__(self, input: Any, *hx: Any) -> Any:
            return super().__call__(input, hx if states > 1 and hx else (hx or (None,))[0])

    class TwinFlat(getattr(twin, name)):  # type: ignore[misc]
        def forward(self, input: Any, *hx: Any) -> Any:
            return super().forward(input, hx if states > 1 and hx else (hx or (None,))[0])

    Flat.__name__ = name
    inputs = normal((2, 3), *[(2, 4)] * states), normal((2, 3)), normal((3,), *[(4,)] * states), normal((1, 3))
    return Case(
        name="-".join([name, *options.values()]),
        make=lambda: Flat(3, 4, **options),
        make_twin=lambda: TwinFlat(3, 4, **options),
        inputs=list(inputs),
        primitives=(name,),
        dtypes=(torch.float32,),
        empty=normal((0, 3)),
    )


LENGTHS = [2, 4, 1]


def packed(x: Any) -> Any:
    return rnn_of(x).pack_padded_sequence(x, LENGTHS, enforce_sorted=False).data


def padded(x: Any) -> Any:
    rnn = rnn_of(x)
    return rnn.pad_packed_sequence(rnn.PackedSequence(x, SIZES, ORDER, BACK), padding_value=0.5, total_length=6)[0]


def rnn_of(x: Any) -> Any:
    return twin.utils.rnn if x.requires_grad else nn.utils.rnn


CASES = [
    *family("LSTM", 2),
    *family("GRU", 1),
    *family("RNN", 1),
    recurrent("RNN", "relu", normal((5, 2, 3), (1, 2, 4)), args=(3, 4), nonlinearity="relu"),
    recurrent(
        "LSTM",
        "projected",
        normal((5, 2, 3), (4, 2, 2), (4, 2, 4)),
        normal((5, 3)),
        args=(3, 4, 2),
        proj_size=2,
        bidirectional=True,
    ),
    recurrent("LSTM", "projected packed", normal((9, 3)), args=(3, 4), proj_size=2, bias=False, packed=True),
    cell("LSTMCell", 2),
    cell("GRUCell", 1),
    cell("RNNCell", 1),
    cell("RNNCell", 1, nonlinearity="relu"),
    operator("pack_padded_sequence", packed, normal((5, 3, 2)), normal((4, 3)), uses="TakeRows"),
    operator("pad_packed_sequence", padded, normal((9, 2)), normal((9,)), uses="PlaceRows"),
]

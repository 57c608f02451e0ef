"""Sequences of unlike lengths: packed, which is without padding, and padded. One takes rows, the other places them.

Padded sequences are (T, N, ...), or (N, T, ...) batch first. Packed ones lie step after step, the longest first: see
`recurrent.time`.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

__all__ = [
    "packed_rows",
    "packed_sizes",
    "place_rows",
    "place_rows_backward",
    "take_rows",
    "take_rows_backward",
]


def packed_sizes(lengths: Sequence[int]) -> list[int]:
    """How many sequences have each step.   lengths: of the sequences, none of them empty, in any order."""
    ending = [0] * (max(lengths) + 1)
    for length in lengths:
        ending[length] += 1
    sizes, left = [], len(lengths)
    for step in range(len(ending) - 1):
        left -= ending[step]
        sizes.append(left)
    return sizes


def packed_rows(sizes: Sequence[int], columns: Sequence[int], steps: int, batch_first: bool = False) -> list[int]:
    """Where each row of packed sequences stands among the rows of the padded ones, (T N) or (N T) of them.

    sizes: how many sequences have each step; columns: for each sequence, longest first, its place among the N;
    steps: T.
    """
    along, across = (1, steps) if batch_first else (len(columns), 1)
    starts = [across * column for column in columns]
    return [t * along + start for t, size in enumerate(sizes) for start in starts[:size]]


def take_rows(input: Tensor, rows: Tensor) -> Tensor:
    """y_r = the row rows_r of the A B that x has.   input (A, B, ...), rows (R) int64, y (R, ...)."""
    return input.flatten(0, 1).index_select(0, rows)


def take_rows_backward(grad: Tensor, rows: Tensor, shape: Sequence[int]) -> Tensor:
    """dL/dx has dL/dy_r in the row rows_r, and 0 where no row was taken.   grad (R, ...), rows: each at most once;
    returns `shape` (A, B, ...)."""
    return place_rows(grad, rows, shape[0], shape[1], 0)


def place_rows(input: Tensor, rows: Tensor, first: int, second: int, value: float = 0.0) -> Tensor:
    """y has x_r in the row rows_r, and `value` elsewhere.   input (R, ...), rows (R): each at most once, y (A, B, ...),
    with A B rows."""
    rest = input.shape[1:]
    return input.new_full((first * second, *rest), value).index_copy(0, rows, input).reshape(first, second, *rest)


def place_rows_backward(grad: Tensor, rows: Tensor) -> Tensor:
    """dL/dx_r = the row rows_r of dL/dy.   grad (A, B, ...), rows (R); returns (R, ...)."""
    return take_rows(grad, rows)

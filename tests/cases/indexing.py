"""Rows of the table: taking and putting by index."""

from __future__ import annotations

from collections.abc import Callable

import torch

from tests.cases.table import Inputs, normal, operator

ROWS, PLACES = [2, 0, 2], [[0, 1, 2], [2, 0, 2]]


def at(index: list[int] | list[list[int]], *shapes: tuple[int, ...]) -> Callable[[], Inputs]:
    """These indices, and values of these shapes."""
    return lambda: (torch.tensor(index), *(torch.randn(shape, dtype=torch.float64) for shape in shapes))


CASES = [
    operator(
        "gather",
        lambda i, x: x.gather(1, i) + torch.take_along_dim(x, i - 4, 1) * 2,
        at(PLACES, (2, 4)),
        uses="Gather",
    ),
    operator(
        "index_select",
        lambda i, x: x.index_select(0, i) + x.index_select(-1, i)[:, :1],
        at(ROWS, (3, 4)),
        uses="IndexSelect",
    ),
    operator("take", lambda i, x: x.take(i) + torch.take(x, -i - 1), at(PLACES, (3, 4)), uses="Take"),
    operator(
        "mixed index",
        lambda i, x: x[i, 1:].sum() + x[:, i, 1:] + x[i, None, ..., 0].sum() + x[-i, i][..., 1:],
        at(ROWS, (3, 3, 4)),
        uses="Select",
    ),
    operator(
        "masked_select",
        lambda i, x: x.masked_select(i > 0).exp().sum() + x[i > 0].sum(),
        at([[1, 0, 1], [0, 0, 1]], (2, 3)),
        uses="Select",
        saves=True,
    ),
    operator(
        "scatter",
        lambda i, x, s: x.scatter(1, i, s) + x.scatter(1, i, 2.0),
        at([[0, 1, 3], [2, 0, 1]], (2, 4), (2, 3)),
        uses="Scatter",
    ),
    operator(
        "scatter_add",
        lambda i, x, s: x.scatter_add(1, i, s) * 2,
        at(PLACES, (2, 4), (2, 3)),
        uses="ScatterAdd",
    ),
    *(
        operator(
            f"scatter_reduce {how} {include}",
            lambda i, x, s, how=how, include=include: x.scatter_reduce(1, i, s, how, include_self=include),
            at(PLACES, (2, 4), (2, 3)),
            uses="ScatterReduce",
        )
        for how in ("sum", "prod", "mean", "amax", "amin")
        for include in (True, False)
    ),
    operator(
        "index_add",
        lambda i, x, s: x.index_add(0, i, s, alpha=0.5) * x.index_add(0, i, s),
        at(ROWS, (3, 4), (3, 4)),
        uses="IndexAdd",
    ),
    operator("index_copy", lambda i, x, s: x.index_copy(1, i, s), at([2, 0], (3, 4), (3, 2)), uses="IndexCopy"),
    operator(
        "index_fill",
        lambda i, x, v: x.index_fill(0, i, v) + x.index_fill(1, i, 3),
        at(ROWS, (3, 4), ()),
        uses="IndexFill",
    ),
    operator(
        "index_put",
        lambda i, x, v: x.index_put((i, i), v) + x.index_put((i,), v[:, None], accumulate=True) + x.put(i, v, True),
        at([2, 0, 1], (3, 4), (3,)),
        uses="IndexPut",
    ),
    operator(
        "masked_scatter",
        lambda i, x, s: x.masked_scatter(i > 0, s),
        at([[1, 0, 1], [0, 0, 1]], (2, 3), (4,)),
        uses=("Where", "IndexSelect"),
    ),
    operator(
        "put slices",
        lambda x, y: torch.select_scatter(x, y, 0, -1) + x.slice_scatter(y[None], 0, 1, 2) + x.diagonal_scatter(y[:3]),
        normal((3, 4), (4,)),
        uses=("SelectScatter", "SliceScatter", "DiagonalScatter"),
        saves=False,
    ),
]

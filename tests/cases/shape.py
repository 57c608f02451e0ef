"""Rows of the table: shape."""

from __future__ import annotations

import torch

from tests.cases.table import normal, operator, with_indices

CASES = [
    operator(
        "reshape",
        lambda x: x.view(2, -1).reshape((6, 2)).unsqueeze(1).squeeze(1).flatten(),
        normal((3, 4)),
        uses="Reshape",
        saves=False,
    ),
    operator(
        "permute", lambda x: x.permute(2, 0, 1).transpose(0, -1).mT, normal((2, 3, 4)), uses="Permute", saves=False
    ),
    operator("transpose", lambda x: x.T @ x.t().T, normal((3, 4)), uses=("Permute", "MatMul")),
    operator("expand", lambda x: x.expand(2, -1, 4), normal((3, 1)), uses="Expand", saves=False),
    operator(
        "cat",
        lambda x, y: torch.cat([x, y, x], 1),
        normal((3, 2), (3, 1)),
        normal((3, 2), (3, 0)),
        uses="Cat",
        saves=False,
    ),
    operator("stack", lambda x, y: torch.stack([x, y], -1), normal((3, 2), (3, 2)), uses="Stack", saves=False),
    operator("slice", lambda x: x[1:, ::2, None], normal((3, 4)), uses="Select", saves=False),
    operator("index", lambda x, i: x[i] + x[0, ..., 1], with_indices((3, 4), [0, 2, 2, 1]), uses="Select"),
    operator("index pair", lambda x, i, j: x[i, j], with_indices((3, 4), [0, 2, 2], [1, 3, 3]), uses="Select"),
    operator("mask", lambda x: x[[True, False, True]], normal((3, 4)), uses="Select", saves=False),
    operator("split", lambda x: x.split([1, 3], 1), normal((3, 4)), uses="Split", saves=False),
    operator("chunk", lambda x: torch.chunk(x, 3, 0), normal((5, 4)), uses="Split", saves=False),
    operator("unbind", lambda x: x.unbind(1), normal((3, 2)), uses=("Split", "Reshape"), saves=False),
    operator("clone", lambda x: x.clone().contiguous(), normal((3, 4)), uses="Copy", saves=False),
    operator(
        "to", lambda x: x.float().to(torch.float64), normal((3, 4)), uses="Copy", dtypes=(), smooth=False, saves=False
    ),
]

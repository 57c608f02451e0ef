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
    operator(
        "flip",
        lambda x: x.flip(0, 2) + x.fliplr() * 2 + x.flipud() + x.rot90(2),
        normal((2, 3, 4)),
        uses="Flip",
        saves=False,
    ),
    operator("roll", lambda x: x.roll(1) + x.roll((1, -2), (0, 1)) * 2, normal((3, 4)), uses="Roll", saves=False),
    operator(
        "triangles",
        lambda x: x.tril() + 2 * x.triu(1) + torch.tril(x, -1),
        normal((2, 3, 4)),
        uses=("Tril", "Triu"),
        saves=False,
        empty=normal((0, 3, 4)),
    ),
    operator(
        "diagonal",
        lambda x: x.diagonal(1).sum() + torch.diagonal(x, -1, 2, 0).sum(0) + x[0].diag() * 2,
        normal((3, 3, 4)),
        uses="Diagonal",
        saves=False,
    ),
    operator(
        "diag_embed", lambda x: x.diag_embed(1) + x[0].diagflat(-1), normal((3, 4)), uses="DiagEmbed", saves=False
    ),
    operator("unfold", lambda x: x.unfold(1, 3, 2), normal((2, 7)), normal((2, 4, 3)), uses="Windows", saves=False),
    operator(
        "moved",
        lambda x: x.movedim(0, -1).moveaxis((0, 1), (1, 0)).adjoint().swapaxes(0, 1).unflatten(0, (2, -1)),
        normal((2, 3, 4)),
        uses=("Permute", "Reshape"),
        saves=False,
    ),
    operator(
        "repeated",
        lambda x: x.repeat(2, 1, 3).flatten() + x.tile(3, 2).flatten() + x.repeat_interleave(6),
        normal((2, 3)),
        uses="Expand",
        saves=False,
        dtypes=(torch.float32,),
    ),
    operator(
        "repeated unevenly",
        lambda x, n: x.repeat_interleave(n, 0, output_size=4) + x.repeat_interleave(n).sum(),
        lambda: (torch.randn(3, dtype=torch.float64), torch.tensor([2, 0, 2])),
        uses="IndexSelect",
    ),
    operator(
        "pieces",
        lambda x: (*x.tensor_split(3, 1), *x.hsplit((1, 2)), *x.vsplit(2)),
        normal((2, 4)),
        uses=("Split", "Select"),
        saves=False,
    ),
    operator(
        "stacks",
        lambda x, y: torch.hstack([x, y]) + torch.vstack([x, y]).reshape(-1) + torch.column_stack([x, y]).reshape(-1),
        normal((3,), (3,)),
        uses=("Cat",),
        saves=False,
    ),
    operator(
        "grids",
        lambda x, y: (*torch.meshgrid(x, y, indexing="xy"), torch.cartesian_prod(x, y), torch.block_diag(x, y)),
        normal((3,), (2,)),
        uses=("Expand", "Stack", "Cat"),
        saves=False,
    ),
]

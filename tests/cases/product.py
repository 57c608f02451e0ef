"""Rows of the table: products of matrices and vectors."""

from __future__ import annotations

import torch

from tests.cases.table import normal, operator

CASES = [
    operator(
        "matmul",
        lambda x, y: x @ y,
        normal((3, 4), (4, 5)),
        normal((4,), (4,)),
        normal((3, 4), (4,)),
        normal((4,), (4, 5)),
        normal((2, 3, 4), (4, 5)),
        normal((3, 4), (2, 4, 5)),
        normal((2, 1, 3, 4), (5, 4, 3)),
        normal((2, 3, 4), (4,)),
        normal((4,), (2, 4, 3)),
        uses="MatMul",
        empty=normal((0, 4), (4, 5)),
    ),
    operator(
        "addmm",
        lambda m, x, y: torch.addmm(m, x, y, beta=0.5, alpha=2) + m.addmm(x, y, beta=0),
        normal((3, 5), (3, 4), (4, 5)),
        normal((5,), (3, 4), (4, 5)),
        uses=("MatMul", "Add"),
    ),
    operator(
        "batches",
        lambda m, x, y: torch.baddbmm(m, x, y) + torch.addbmm(m[0], x, y, alpha=0.5),
        normal((2, 3, 5), (2, 3, 4), (2, 4, 5)),
        uses="MatMul",
        dtypes=(torch.float32,),
    ),
    operator(
        "vectors",
        lambda x, y: x.outer(y) + torch.addr(x.outer(y), y, x) + x.dot(y) + x.inner(y) + x.kron(y).sum() + x.vdot(y),
        normal((4,), (4,)),
        uses=("MatMul", "Mul"),
    ),
    operator(
        "tensordot",
        lambda x, y: torch.tensordot(x, y, 2) + torch.tensordot(x, y, ([1, 2], [0, 1])),
        normal((2, 3, 4), (3, 4, 5)),
        uses="MatMul",
    ),
    operator(
        "multi_dot",
        lambda x, y, z: torch.linalg.multi_dot([x, y, z]) * torch.linalg.multi_dot([x[0], y, z]),
        normal((2, 3), (3, 4), (4, 5)),
        uses="MatMul",
    ),
    *(
        operator(
            f"einsum {equation}", lambda *x, e=equation: torch.einsum(e, *x), normal(*shapes), uses=uses, saves=saves
        )
        for equation, shapes, uses, saves in [
            ("ij,jk->ik", ((2, 3), (3, 4)), "MatMul", True),
            ("bhqd,bhkd->bhqk", ((2, 1, 3, 4), (2, 5, 2, 4)), "MatMul", True),
            ("ii->i", ((3, 3),), "Diagonal", False),
            ("iij,jkk->ki", ((2, 2, 3), (3, 4, 4)), "MatMul", True),
            ("...ij,...jk->...ki", ((2, 1, 3, 2), (5, 2, 4)), "MatMul", True),
            ("i,j,k->kji", ((2,), (3,), (4,)), "Mul", True),
            ("ab,bc,cd", ((2, 3), (3, 4), (4, 2)), "MatMul", True),
            ("...i->...", ((2, 3, 4),), "Sum", False),
            ("ij,ij,j->", ((2, 3), (2, 3), (3,)), "MatMul", True),
            ("ij,kj->k", ((2, 3), (4, 1)), "Sum", True),
        ]
    ),
    operator(
        "cross",
        lambda x, y: torch.linalg.cross(x, y) + torch.cross(x, y, dim=1),
        normal((2, 3), (2, 3)),
        normal((1, 3), (2, 3)),
        uses="Cross",
    ),
    operator(
        "cdist",
        lambda x, y: torch.cdist(x, y) + torch.cdist(x, y, 1) * torch.cdist(x, y, 3),
        normal((3, 4), (2, 4)),
        normal((2, 3, 4), (2, 2, 4)),
        uses="Cdist",
        dtypes=(torch.float32,),
    ),
]

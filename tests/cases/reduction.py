"""Rows of the table: reduction."""

from __future__ import annotations

import torch

from tests.cases.table import normal, operator, positive

CASES = [
    operator("sum", lambda x: x.sum(), normal((3, 4)), normal(()), uses="Sum", saves=False, empty=normal((0, 4))),
    operator(
        "sum dims", lambda x: x.sum((0, -1)) + x.sum(1, keepdim=True).sum(), normal((2, 3, 4)), uses="Sum", saves=False
    ),
    operator("mean", lambda x: x.mean(), normal((3, 4)), normal(()), uses="Mean", saves=False),
    operator("mean dims", lambda x: x.mean(-1, keepdim=True) * x.mean(0), normal((3, 4)), uses="Mean"),
    operator("nansum", lambda x: x.nansum(1) + x.nanmean(), normal((3, 4)), uses="NanSum"),
    operator(
        "logsumexp", lambda x: x.logsumexp((0, 2)) + x.logsumexp(1, True).sum(), normal((2, 3, 4)), uses="LogSumExp"
    ),
    operator("prod", lambda x: x.prod(1) + x.prod() + x.prod(0, True).sum(), normal((3, 4)), uses="Prod"),
    operator(
        "var",
        lambda x: x.var() + x.var(1, False) * torch.var_mean(x, (0, 1), correction=0)[0],
        normal((3, 4)),
        uses="Var",
    ),
    operator("std", lambda x: x.std(1, keepdim=True) * torch.std_mean(x, 0)[1], normal((3, 4)), uses=("Std", "Mean")),
    operator(
        "norm",
        lambda x: x.norm() + torch.linalg.norm(x, 1) + torch.norm(x, 3, 1) * x.norm(0.5, 0, True).sum(),
        normal((3, 4)),
        normal((2, 2)),
        uses="Norm",
    ),
    operator("cumsum", lambda x: x.cumsum(-1), normal((3, 4)), normal(()), uses="Cumsum", saves=False),
    operator("cumprod", lambda x: x.cumprod(0), normal((3, 4)), normal(()), uses="Cumprod"),
    operator("logcumsumexp", lambda x: x.logcumsumexp(-1), normal((3, 4)), normal(()), uses="Logcumsumexp"),
    operator("trace", lambda x: x.trace() + x.diff(2).sum(), normal((4, 4)), uses=("Diagonal", "Sum"), saves=False),
    operator("cov", lambda x: torch.cov(x) + torch.corrcoef(x), normal((2, 5)), uses="MatMul", dtypes=(torch.float32,)),
    operator(
        "trapezoid",
        lambda y, x: torch.trapezoid(y, x) + torch.cumulative_trapezoid(y, dx=0.5, dim=0).sum(),
        positive((3, 4), (4,)),
        uses=("Sum", "Cumsum"),
    ),
]

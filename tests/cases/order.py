"""Rows of the table: extremes, medians, sorting."""

from __future__ import annotations

import torch

from tests.cases.table import distinct, operator

CASES = [
    operator("amax", lambda x: x.amax(1) + x.amax((0, 1)), distinct((3, 4)), uses="AMax"),
    operator("amin", lambda x: x.amin() + x.aminmax(dim=0, keepdim=True).min, distinct((3, 4)), uses="AMin"),
    operator("max", lambda x: x.max() - x.min() * 2, distinct((3, 4)), distinct(()), uses=("Max", "Min")),
    operator("median of all", lambda x: x.median() + x.nanmedian() * 2, distinct((3, 5)), uses=("Median", "Nanmedian")),
    operator("max along", lambda x: x.max(1), distinct((3, 4)), uses="MaxAlong"),
    operator("max along keepdim", lambda x: torch.max(x, 0, keepdim=True), distinct((3, 4)), uses="MaxAlong"),
    operator("min along", lambda x: x.min(-1), distinct((3, 4)), distinct((4,)), uses="MinAlong"),
    operator("median along", lambda x: x.median(1), distinct((3, 4)), uses="MedianAlong"),
    operator("nanmedian along", lambda x: x.nanmedian(0), distinct((3, 4)), uses="NanmedianAlong"),
    operator("mode", lambda x: x.mode(0), distinct((3, 4)), uses="Mode"),
    operator("kthvalue", lambda x: x.kthvalue(2, 1), distinct((3, 4)), uses="Kthvalue"),
    operator("topk", lambda x: x.topk(2, 1), distinct((3, 4)), uses="Topk"),
    operator("sort", lambda x: x.sort(1, descending=True), distinct((3, 4)), uses="Sort"),
    operator("cummax", lambda x: x.cummax(1), distinct((3, 4)), uses="Cummax"),
    operator("cummin", lambda x: x.cummin(0), distinct((3, 4)), uses="Cummin"),
    operator(
        "quantile",
        lambda x, q: torch.quantile(x, 0.3, 1, keepdim=True) + torch.quantile(x, q),
        lambda: (*distinct((3, 4))(), torch.tensor(0.6, dtype=torch.float64)),
        uses=("Sort", "Gather", "Lerp"),
        dtypes=(torch.float32,),
    ),
]

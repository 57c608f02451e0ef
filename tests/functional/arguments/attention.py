from __future__ import annotations

from typing import Any

import torch

from modgrad import functional
from tests.functional.arguments.make import Arguments, normal


def _attention() -> list[tuple[Any, ...]]:
    q, k, v = normal(2, 3, 5, 4), normal(2, 3, 7, 4), normal(2, 3, 7, 4)
    seen = torch.rand(5, 7) > 0.5
    seen[2] = False  # a query that may look at nothing
    return [
        (q, k, v),
        (q, k, v, None, True, 0.3),
        (q, k, v, None, True, -0.3),
        (q, k, v, seen, True, 0.0),
        (q, k, v, normal(3, 5, 7)),
        (q, k, v, normal(2, 1, 1, 7), True),
        (q, k, v, seen),
        (q, k[:, :1], v[:, :1], seen, False, None, True),
        (q[0], k[0], v[0], normal(3, 1, 7)),
        (q[0, 0], k[0, 0], v[0, 0]),
        (q, k, normal(2, 3, 7, 6)),
        (q.mT.contiguous().mT, k.transpose(1, 2).contiguous().transpose(1, 2), v),
        (q, k, v, None, True, None, False, torch.rand(2, 3, 5, 7) > 0.5, 0.5),
    ]


def _attention_backward() -> list[tuple[Any, ...]]:
    rows = []
    for query, key, value, *options in _attention():
        output, lse = functional.scaled_dot_product_attention(query, key, value, *options)
        rows.append((normal(*output.shape), query, key, value, output, lse, *options))
    return rows


ARGUMENTS: Arguments = {
    "scaled_dot_product_attention": _attention,
    "scaled_dot_product_attention_backward": _attention_backward,
}

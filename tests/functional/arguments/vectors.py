from __future__ import annotations

from modgrad import functional
from tests.functional.arguments.make import Arguments, normal


def _distances(p: float) -> tuple[object, ...]:
    a, b = normal(2, 3, 4), normal(2, 4)
    a[0, 0] = b[1]
    return normal(2, 3, 2), a, b, p, functional.cdist(a, b, p, 2)


ARGUMENTS: Arguments = {
    "cdist_grad_x1": lambda: [_distances(p) for p in (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, float("inf"))],
}

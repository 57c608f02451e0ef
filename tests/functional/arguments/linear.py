from __future__ import annotations

from tests.functional.arguments.make import Arguments, normal

ARGUMENTS: Arguments = {
    "linear": lambda: [
        (normal(5, 4), normal(3, 4), normal(3)),
        (normal(2, 5, 4), normal(3, 4), None),
        (normal(4), normal(3, 4), normal(3)),
    ],
}

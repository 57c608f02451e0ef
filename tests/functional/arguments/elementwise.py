from __future__ import annotations

from tests.functional.arguments.make import Arguments, normal

ARGUMENTS: Arguments = {
    "logit_backward": lambda: [(normal(3, 4), normal(3, 4).sigmoid(), None), (normal(3, 4), normal(3, 4), 0.2)],
}

from __future__ import annotations

from typing import Any

from modgrad import functional
from tests.functional.arguments.make import Arguments, normal


def _lstm() -> list[tuple[Any, ...]]:
    states = normal(2, 4), normal(2, 4)
    return [
        (normal(5, 2, 3), *states, normal(16, 3), normal(16, 4), *biases, reverse)
        for biases in [(normal(16), normal(16)), (None, None)]
        for reverse in (False, True)
    ]


def _lstm_backward() -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for *arguments, reverse in _lstm():
        output, _, last_cell, kept = functional.lstm(*arguments, reverse)
        rest = *arguments, output, last_cell, kept, reverse
        rows.append((normal(5, 2, 4), normal(2, 4), normal(2, 4), *rest))
        rows.append((None, normal(2, 4), None, *rest))
    return rows


ARGUMENTS: Arguments = {
    "lstm": _lstm,
    "lstm_backward": _lstm_backward,
}

from __future__ import annotations

from typing import Any

import torch

from modgrad import functional
from tests.functional.arguments.make import Arguments, normal


def _ctc_loss(inputs: list[int], lengths: list[int]) -> list[tuple[Any, ...]]:
    labels = torch.tensor([[1, 1, 2], [2, 1, 2], [1, 2, 2]])
    joined = torch.cat([row[:n] for row, n in zip(labels, lengths, strict=True)])
    log_probs = normal(7, 3, 4).log_softmax(2)
    return [
        (log_probs, targets, inputs, lengths, blank, reduction, zero)
        for targets in (labels, joined)
        for reduction in ("mean", "sum", "none")
        for blank, zero in ((0, False), (3, True))
    ]


def _ctc_loss_backward() -> list[tuple[Any, ...]]:
    rows = []
    for inputs, lengths in (([7, 7, 7], [3, 3, 3]), ([7, 4, 2], [3, 0, 2]), ([7, 0, 0], [3, 0, 2])):
        for *arguments, blank, reduction, zero in _ctc_loss(inputs, lengths):
            loss, losses, log_alpha = functional.ctc_loss(*arguments, blank, reduction, zero)
            rows.append((torch.randn_like(loss), *arguments, losses, log_alpha, blank, reduction, zero))
    return rows


ARGUMENTS: Arguments = {
    # Of all steps and labels: beyond a sequence's own the kernel leaves what it keeps as it found it.
    "ctc_loss": lambda: _ctc_loss([7, 7, 7], [3, 3, 3]),
    "ctc_loss_backward": _ctc_loss_backward,
}

"""Rows of the table: losses of classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from modgrad import nn
from tests.cases.table import (
    PER_CLASS,
    Case,
    Function,
    Inputs,
    TorchFunction,
    layer,
    scores_and_classes,
    scores_and_probabilities,
)


def labellings(
    steps: int, classes: int, inputs: list[int], lengths: list[int], joined: bool = False
) -> Callable[[], Inputs]:
    """log-probabilities (T, N, C), labels with repeats, one after another or padded, and how many of each count."""

    def make() -> Inputs:
        log_probs = torch.randn(steps, len(inputs), classes, dtype=torch.float64).log_softmax(2)
        labels = torch.randint(1, min(classes, 3), (len(inputs), max(lengths)))
        if joined:
            labels = torch.cat([row[:n] for row, n in zip(labels, lengths, strict=True)])
        return log_probs, labels, torch.tensor(inputs), torch.tensor(lengths)

    return make


def one_labelling() -> Inputs:
    log_probs, labels, inputs, lengths = labellings(6, 4, [6], [3], joined=True)()
    return log_probs.squeeze(1), labels, inputs.squeeze(), lengths.squeeze()


def ctc(*inputs: Callable[[], Inputs], label: str = "", **options: Any) -> Case:
    # Its gradient is that of the scores behind a log-softmax. In bfloat16 neither it nor PyTorch's works.
    return layer("CTCLoss", *inputs, label=label, is_derivative=False, smooth=False, dtypes=(torch.float32,), **options)


def of_scores(loss: Any) -> Callable[..., Any]:
    """Of what log_probs would be the log-softmax of: by these the gradient is a derivative."""
    return lambda scores, *others: loss(torch.log_softmax(scores, 2), *others)


def adaptive(*shapes: tuple[int, ...], label: str, **options: Any) -> Case:
    def targets(*shape: int) -> Callable[[], Inputs]:
        return lambda: (torch.randn(*shape, 8, dtype=torch.float64), torch.randint(0, 12, shape))

    return Case(
        name=f"AdaptiveLogSoftmaxWithLoss-{label}",
        make=lambda: nn.AdaptiveLogSoftmaxWithLoss(8, 12, [3, 6, 9], div_value=2.0, **options),
        make_twin=lambda: torch.nn.AdaptiveLogSoftmaxWithLoss(8, 12, [3, 6, 9], div_value=2.0, **options),
        inputs=[targets(*shape) for shape in shapes],
        primitives=("CrossEntropyLoss",),
        dtypes=(torch.float32,),
    )


CASES = [
    layer(
        "CrossEntropyLoss",
        scores_and_classes((5, 3)),
        scores_and_classes((5, 3), ignored=True),
        scores_and_classes((4,)),
        scores_and_classes((2, 3, 4)),
        scores_and_classes((2, 3, 4, 5), ignored=True),
        scores_and_probabilities((5, 3)),
        scores_and_probabilities((3,)),
        scores_and_probabilities((2, 3, 4)),
    ),
    layer(
        "CrossEntropyLoss",
        scores_and_classes((5, 3), ignored=True),
        scores_and_classes((2, 3, 4, 5)),
        scores_and_probabilities((5, 3)),
        scores_and_classes((4,)),
        label="sum",
        reduction="sum",
        empty=scores_and_classes((0, 3)),
    ),
    layer(
        "CrossEntropyLoss",
        scores_and_classes((5, 3), ignored=True),
        scores_and_classes((2, 3, 4)),
        scores_and_probabilities((5, 3)),
        scores_and_probabilities((3,)),
        scores_and_classes((4,)),
        label="none",
        reduction="none",
    ),
    layer(
        "CrossEntropyLoss",
        scores_and_classes((5, 3), ignored=True),
        scores_and_classes((2, 3, 4)),
        scores_and_classes((2, 3, 4, 5)),
        scores_and_probabilities((5, 3)),
        label="weight",
        weight=PER_CLASS,
        dtypes=(torch.float32,),
    ),
    layer(
        "CrossEntropyLoss",
        scores_and_classes((5, 3), ignored=True),
        scores_and_probabilities((2, 3, 4)),
        label="smoothing",
        weight=PER_CLASS,
        label_smoothing=0.2,
        dtypes=(torch.float32,),
    ),
    layer(
        "CrossEntropyLoss",
        scores_and_classes((9, 3)),
        label="class 1 ignored",
        label_smoothing=0.1,
        ignore_index=1,
        dtypes=(torch.float32,),
    ),
    layer(
        "NLLLoss",
        scores_and_classes((5, 3)),
        scores_and_classes((5, 3), ignored=True),
        scores_and_classes((4,)),
        scores_and_classes((2, 3, 4), ignored=True),
        scores_and_classes((2, 3, 4, 5), ignored=True),
        scores_and_classes((2, 3, 2, 2, 2), ignored=True),
    ),
    layer(
        "NLLLoss",
        scores_and_classes((5, 3), ignored=True),
        scores_and_classes((2, 3, 4)),
        scores_and_classes((4,)),
        label="sum",
        reduction="sum",
        empty=scores_and_classes((0, 3)),
    ),
    layer(
        "NLLLoss",
        scores_and_classes((5, 3), ignored=True),
        scores_and_classes((2, 3, 4)),
        scores_and_classes((2, 3, 4, 5)),
        scores_and_classes((4,)),
        label="none",
        reduction="none",
        empty=scores_and_classes((0, 3, 2)),
    ),
    layer(
        "NLLLoss",
        scores_and_classes((5, 3), ignored=True),
        scores_and_classes((2, 3, 4)),
        label="weight",
        weight=PER_CLASS,
        dtypes=(torch.float32,),
    ),
    layer(
        "NLLLoss", scores_and_classes((9, 3)), scores_and_classes((3, 3, 3)), label="class 1 ignored", ignore_index=1
    ),
    Case(
        name="NLLLoss2d",
        make=nn.NLLLoss2d,
        make_twin=torch.nn.NLLLoss,  # its own warns of its name
        inputs=[scores_and_classes((2, 3, 4, 5), ignored=True)],
        primitives=("NLLLoss2d",),
    ),
    ctc(
        labellings(7, 4, [7, 7, 7], [3, 2, 3]),
        labellings(7, 4, [7, 5, 6], [3, 1, 0]),
        labellings(7, 4, [7, 5, 6], [3, 1, 2], joined=True),
        one_labelling,
    ),
    ctc(labellings(7, 4, [7, 5, 6], [3, 0, 2]), one_labelling, label="sum", reduction="sum"),
    ctc(
        labellings(7, 4, [7, 5, 6], [3, 0, 2], joined=True),
        labellings(5, 4, [2, 5, 0, 0], [4, 2, 0, 1]),
        one_labelling,
        label="none",
        reduction="none",
    ),
    ctc(labellings(6, 4, [6, 2, 3], [2, 2, 3]), label="blank 3, infinities 0", blank=3, zero_infinity=True),
    Case(
        name="CTCLoss-of scores",
        make=lambda: Function(of_scores(nn.CTCLoss(reduction="none"))),
        make_twin=lambda: TorchFunction(of_scores(torch.nn.CTCLoss(reduction="none"))),
        inputs=[labellings(7, 4, [7, 5, 6], [3, 0, 2])],
        primitives=("CTCLoss", "LogSoftmax"),
        dtypes=(torch.float32,),
    ),
    adaptive((9,), (1,), (), label="bias", head_bias=True),
    adaptive((9,), label="no bias"),
]

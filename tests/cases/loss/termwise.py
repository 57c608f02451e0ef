"""Rows of the table: losses with a term for each value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tests.cases.table import Case, Inputs, layer, normal

Make = Callable[[], Tensor]


def of(*makes: Make) -> Callable[[], Inputs]:
    return lambda: tuple(make() for make in makes)


def n(*shape: int) -> Make:
    return lambda: torch.randn(shape, dtype=torch.float64)


def probabilities(*shape: int) -> Make:
    """Far enough from 0 and 1 that half as much again is a probability too."""
    return lambda: torch.rand(shape, dtype=torch.float64) * 0.4 + 0.2


def counts(*shape: int) -> Make:
    """Between 0.5 and 5, but not near 1, where Stirling's formula begins."""
    return lambda: torch.rand(shape, dtype=torch.float64) * 0.4 + torch.randint(0, 4, shape) + 0.55


def signs(*shape: int) -> Make:
    """1 and -1; integers, where a target has no gradient in PyTorch."""
    return lambda: torch.randint(0, 2, shape) * 2 - 1


def weights(*shape: int) -> Tensor:
    return torch.linspace(0.5, 2.0, torch.Size(shape).numel(), dtype=torch.float64).reshape(shape)


def reductions(name: str, *inputs: Callable[[], Inputs], empty: Callable[[], Inputs], **rest: Any) -> list[Case]:
    """A row for each reduction, the first with all inputs."""
    others = [layer(name, inputs[0], label=how, reduction=how, empty=empty, **rest) for how in ("sum", "none")]
    return [layer(name, *inputs, **rest), *others]


# Sums whose terms cancel are rounded otherwise than in PyTorch; `tests/nn/test_losses.py` measures which is nearer.
NEAR: Any = {"dtypes": (torch.float32,)}
TWO, SCALARS, NOTHING = normal((5, 4), (5, 4)), normal((), ()), normal((0, 4), (0, 4))
SHARED = normal((5, 4), (4,))  # which broadcast
BINARY, LOGITS = of(probabilities(5, 4), probabilities(5, 4)), of(n(5, 4), probabilities(5, 4))
COUNTED, SIGNED = of(n(5, 4), counts(5, 4)), of(n(5, 4), signs(5, 4))
RATES = of(probabilities(5, 4), counts(5, 4))
GAUSSIAN = of(n(5, 4), n(5, 4), counts(5, 4))
RANKED = of(n(5), n(5), signs(5))

CASES = [
    *reductions("L1Loss", TWO, SCALARS, empty=NOTHING),
    *reductions("MSELoss", TWO, SCALARS, of(n(3), signs(3)), empty=NOTHING),
    *reductions("SmoothL1Loss", TWO, SCALARS, empty=NOTHING),
    layer("SmoothL1Loss", TWO, label="beta", beta=0.3),
    layer("SmoothL1Loss", TWO, label="beta 0", beta=0.0),
    *reductions("HuberLoss", TWO, SCALARS, empty=NOTHING),
    layer("HuberLoss", TWO, label="delta", delta=0.3),
    *reductions("BCELoss", BINARY, of(probabilities(), probabilities()), empty=NOTHING, **NEAR),
    layer("BCELoss", BINARY, label="weight", weight=weights(4), **NEAR),
    layer("BCELoss", BINARY, label="weight of all", weight=weights(5, 4), reduction="none", **NEAR),
    *reductions("BCEWithLogitsLoss", LOGITS, of(n(), probabilities()), empty=NOTHING),
    layer("BCEWithLogitsLoss", LOGITS, label="weight", weight=weights(5, 1)),
    layer("BCEWithLogitsLoss", LOGITS, label="pos_weight", pos_weight=weights(4), weight=weights(5, 4), **NEAR),
    *reductions(
        "MultiLabelSoftMarginLoss", LOGITS, of(n(4), n(4)), of(n(5, 4), signs(5, 4)), SHARED, empty=NOTHING, **NEAR
    ),
    layer("MultiLabelSoftMarginLoss", LOGITS, label="weight", weight=weights(4), reduction="sum", **NEAR),
    *reductions("SoftMarginLoss", SIGNED, of(n(), signs()), of(n(5, 4), signs(4)), empty=of(n(0, 4), signs(0, 4))),
    layer("KLDivLoss", LOGITS, of(n(), probabilities()), of(n(5, 4), probabilities(4)), reduction="batchmean", **NEAR),
    layer("KLDivLoss", LOGITS, label="sum", reduction="sum", empty=NOTHING, **NEAR),
    layer("KLDivLoss", LOGITS, label="none", reduction="none", empty=NOTHING, **NEAR),
    layer("KLDivLoss", TWO, SHARED, label="log_target", reduction="batchmean", log_target=True, **NEAR),
    *reductions("PoissonNLLLoss", COUNTED, of(n(), counts()), of(n(5, 4), counts(4)), empty=NOTHING, **NEAR),
    layer("PoissonNLLLoss", COUNTED, label="full", full=True, **NEAR),
    layer("PoissonNLLLoss", RATES, label="rate", log_input=False, eps=0.1, **NEAR),
    layer("PoissonNLLLoss", RATES, label="rate full", log_input=False, full=True, **NEAR),
    *reductions(
        "GaussianNLLLoss",
        GAUSSIAN,
        of(n(5, 4), n(5, 4), counts(5)),
        of(n(5, 4), n(5, 4), counts(1, 4)),
        of(n(5, 4), n(4), counts(5, 4)),
        of(n(3), n(3), counts()),
        empty=of(n(0, 4), n(0, 4), counts(0, 4)),
    ),
    layer("GaussianNLLLoss", GAUSSIAN, label="full", full=True),
    # Below eps the value does not depend on the variance, and the gradient is as if it did.
    layer("GaussianNLLLoss", GAUSSIAN, label="eps", eps=1.0, smooth=False, **NEAR),
    *reductions("HingeEmbeddingLoss", SIGNED, of(n(), signs()), of(n(5, 4), signs(4)), empty=of(n(0), signs(0))),
    layer("HingeEmbeddingLoss", SIGNED, label="margin", margin=0.3),
    *reductions("MarginRankingLoss", RANKED, normal((5,), (5,), (1,)), empty=normal((0,), (0,), (0,))),
    layer("MarginRankingLoss", RANKED, normal((5, 4), (5, 1), (1, 4)), label="margin", margin=0.5),
]

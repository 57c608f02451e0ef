"""The losses' arguments, state and refusals."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch

from modgrad import nn
from modgrad.nn import bilinear, distance
from modgrad.nn.loss import binary, likelihood, margin, regression

OWN_FILES = [binary, bilinear, distance, likelihood, margin, regression]


@pytest.mark.parametrize("name", [name for file in OWN_FILES for name in file.__all__])
def test_arguments_are_pytorchs(name: str) -> None:
    """Of the constructor, by name, order, default and kind; of a call, by name."""
    mine, twin = (inspect.signature(getattr(place, name)) for place in (nn, torch.nn))
    assert [(p.name, p.default, p.kind) for p in mine.parameters.values()] == [
        (p.name, p.default, p.kind) for p in twin.parameters.values()
    ]
    mine, twin = (inspect.signature(getattr(place, name).forward) for place in (nn, torch.nn))
    assert [argument for argument in mine.parameters if argument != "call"] == list(twin.parameters)


def test_kl_div_mean_warns() -> None:
    with pytest.warns(UserWarning, match='the divergence of a sample is reduction="batchmean"'):
        loss = nn.KLDivLoss()
    x, t = torch.randn(3, 2), torch.rand(3, 2)
    with pytest.warns(UserWarning, match="batchmean"):
        torch.testing.assert_close(loss(x, t), torch.nn.KLDivLoss()(x, t))


@pytest.mark.parametrize(
    "make",
    [
        lambda n: n.Bilinear(3, 2, 4),
        lambda n: n.Bilinear(3, 2, 4, bias=False, dtype=torch.float64),
        lambda n: n.BCELoss(torch.ones(3)),
        lambda n: n.BCEWithLogitsLoss(pos_weight=torch.ones(3)),
        lambda n: n.MultiMarginLoss(weight=torch.ones(3)),
        lambda n: n.TripletMarginWithDistanceLoss(),
        lambda n: n.CosineSimilarity(),
    ],
)
def test_state_and_representation_are_pytorchs(make: Any) -> None:
    torch.manual_seed(2)
    mine = make(nn)
    torch.manual_seed(2)
    twin = make(torch.nn)
    assert repr(mine) == repr(twin)
    assert mine.state_dict().keys() == twin.state_dict().keys()
    for name, value in twin.state_dict().items():
        assert torch.equal(mine.state_dict()[name], value)


def v(*shape: int) -> Any:
    return nn.Variable(torch.rand(shape))


REFUSED: list[tuple[Any, type[Exception], str]] = [
    (lambda: nn.L1Loss()(v(3), v(3, 1)), ValueError, r"target.reshape\(input.shape\)"),
    (lambda: nn.BCELoss()(v(3), v(1)), ValueError, "must be the same"),
    (lambda: nn.BCELoss()(v(3) + 1, v(3)), ValueError, r"input is Tensor .* expected probabilities.*BCEWithLogitsLoss"),
    (lambda: nn.BCELoss()(v(3), v(3) * torch.nan), ValueError, "target is Tensor .* with nan in it"),
    (lambda: nn.BCELoss(torch.ones(2))(v(3), v(3)), ValueError, r"weight of shape \(2,\) does not broadcast to \(3,\)"),
    (lambda: nn.BCEWithLogitsLoss(torch.ones(2, 3))(v(3), v(3)), ValueError, "does not broadcast"),
    (lambda: nn.BCELoss(v(3)), TypeError, r"BCELoss\(weight=...\) gets no gradient.*detach"),
    (lambda: nn.BCEWithLogitsLoss(pos_weight=nn.Parameter(torch.ones(3))), TypeError, "pos_weight=...*multiply them"),
    (lambda: nn.MultiMarginLoss(weight=v(3)), TypeError, "weight=..."),
    (lambda: nn.MSELoss()(torch.tensor([1]), torch.tensor([2])), TypeError, "one must be floating-point"),
    (lambda: nn.MarginRankingLoss()(v(3), v(3), 1), TypeError, "target is int 1; expected tensors"),
    (lambda: nn.MarginRankingLoss()(v(3), v(3), v(3, 1)), ValueError, "as many dimensions"),
    (lambda: nn.MarginRankingLoss()(v(3), v(2), v(3)), ValueError, "do not broadcast"),
    (lambda: nn.SmoothL1Loss(beta=-1), ValueError, "beta=-1"),
    (lambda: nn.HuberLoss(delta=0), ValueError, "delta=0.*above 0"),
    (lambda: nn.HuberLoss(delta="1"), TypeError, "delta='1'"),  # type: ignore[arg-type]
    (lambda: nn.KLDivLoss(reduction="avg"), ValueError, '"batchmean" or "none"'),
    (lambda: nn.MSELoss(reduction="batchmean"), ValueError, 'expected "mean", "sum" or "none"'),
    (
        lambda: nn.KLDivLoss(reduction="batchmean")(v(3), v(2, 3)),
        ValueError,
        "the batch is the input's first dimension",
    ),
    (lambda: nn.L1Loss(True), TypeError, "size_average and reduce are gone"),  # type: ignore[arg-type]
    (lambda: nn.TripletMarginLoss(size_average=True), TypeError, "TripletMarginLoss: size_average"),  # type: ignore[arg-type]
    (lambda: nn.TripletMarginWithDistanceLoss(reduction="x"), ValueError, "TripletMarginWithDistanceLoss.*'x'"),
    (lambda: nn.TripletMarginLoss(margin=0), ValueError, "margin=0.*above 0"),
    (lambda: nn.TripletMarginLoss()(v(2, 3), v(3), v(3)), ValueError, "as many dimensions"),
    (lambda: nn.GaussianNLLLoss()(v(3), v(3), -v(3) - 0.1), ValueError, "values below 0"),
    (lambda: nn.GaussianNLLLoss()(v(3), v(3), -1.0), ValueError, "values below 0"),
    (lambda: nn.GaussianNLLLoss()(v(2, 3), v(2, 3), v(3)), ValueError, "var must have the input's shape"),
    (lambda: nn.GaussianNLLLoss()(v(2, 3), v(2, 3), v(1, 1)), ValueError, "1 in place of one dimension"),
    (lambda: nn.MultiLabelSoftMarginLoss()(v(), v()), ValueError, r"expected \(..., C\)"),
    (lambda: nn.MultiMarginLoss(p=3), ValueError, "p=3.*1 or 2"),
    (lambda: nn.MultiMarginLoss(weight=torch.ones(2, 2)), ValueError, r"expected \(C\)"),
    (lambda: nn.MultiMarginLoss(weight=torch.ones(2))(v(2, 3), torch.tensor([0, 1])), ValueError, "weight is Tensor"),
    (lambda: nn.MultiMarginLoss()(v(5, 3), torch.tensor([0, 1])), ValueError, r"\(N, C\) scores and \(N\) classes"),
    (lambda: nn.MultiMarginLoss()(v(2, 3), torch.tensor([0, 3])), IndexError, "class 3 is out of bounds.*0 to 2"),
    (lambda: nn.MultiMarginLoss()(v(2, 3), torch.tensor([0, 1]).int()), TypeError, r"target.long\(\)"),
    (
        lambda: nn.MultiLabelMarginLoss()(v(3), torch.tensor([0, -2, -1])),
        IndexError,
        "class -2 .*and -1 after the last",
    ),
    (lambda: nn.MultiLabelMarginLoss()(v(3), torch.tensor([0, 1])), ValueError, r"\(C\) and \(C\)"),
    (lambda: nn.CosineEmbeddingLoss()(v(2, 3), v(2, 3), torch.tensor(1)), ValueError, r"\(D\), \(D\) and a scalar"),
    (lambda: nn.CosineEmbeddingLoss()(v(2, 3), v(2, 3), 1), ValueError, "target is int 1"),
    (lambda: nn.CosineSimilarity()(v(3), v(3)), IndexError, r"dim=1, and the inputs broadcast to \(3,\)"),
    (lambda: nn.CosineSimilarity()(v(2, 3), v(2, 4)), ValueError, "do not broadcast"),
    (lambda: nn.PairwiseDistance()(torch.tensor([1]), torch.tensor([2])), TypeError, "floating-point vectors"),
    (lambda: nn.Bilinear(0, 1, 1), ValueError, "in1_features=0"),
    (lambda: nn.Bilinear(3, 2, 1)(v(4, 3), v(5, 2)), ValueError, r"expected \(..., 3\) and \(..., 2\)"),
    (lambda: nn.Bilinear(3, 2, 1)(v(4, 2), v(4, 2)), ValueError, "input1 is Tensor"),
    (lambda: nn.Bilinear(3, 2, 1)(v(4, 3).double(), v(4, 2)), ValueError, "of torch.float32"),
]


@pytest.mark.parametrize(("use", "kind", "words"), REFUSED, ids=[row[2] for row in REFUSED])
def test_refusals_say_what_is_wrong(use: Any, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        use()

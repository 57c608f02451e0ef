"""What the losses do beyond the contract: at kinks and extremes, in short floats, of inputs that differ in kind."""

from __future__ import annotations

import itertools
import math
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor

from modgrad import functional, nn
from tests.cases import CASES
from tests.contract import harness as contract

INF, NAN = math.inf, math.nan
VALUES = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1e4, -1e4, 1e-30, 2.0, 100.0, -100.0, INF, -INF, NAN]
FINITE = [v for v in VALUES if math.isfinite(v)]
NONE: dict[str, Any] = {"reduction": "none"}


def every(*values: Any) -> list[Tensor]:
    """All combinations: a tensor for each argument."""
    return [torch.tensor(column, dtype=torch.float64) for column in zip(*itertools.product(*values), strict=True)]


def vectors(values: list[float], size: int, count: int) -> list[Tensor]:
    """All combinations of `count` vectors of these values."""
    all_of_them = list(itertools.product(values, repeat=size))
    return [
        torch.tensor(v, dtype=torch.float64) for v in zip(*itertools.product(all_of_them, repeat=count), strict=True)
    ]


PROBABILITIES = [0.0, 1e-30, 0.25, 0.5, 1 - 1e-7, 1.0]
WHOLE = every(VALUES, [1, -1, 0, 2])
PAIRS = vectors([0.0, 1.0, -1.0, 2.0, INF, NAN], 2, 2)
TRIPLES = vectors([0.0, 1.0, -1.0, 2.0], 2, 3)
SCORES = vectors([0.0, 1.0, -1.0, 0.5, 1e4, INF, NAN], 3, 1)[0]
LISTS = [[0, 1, -1], [0, 0, 1], [-1, 0, 1], [2, 1, 0], [2, -1, -1]]

EXTREMES: list[tuple[str, dict[str, Any], list[Tensor]]] = [
    ("L1Loss", NONE, every(VALUES, VALUES)),
    ("MSELoss", NONE, every(VALUES, VALUES)),
    *(("SmoothL1Loss", NONE | {"beta": beta}, every(VALUES, VALUES)) for beta in (1.0, 0.5, 0.0)),
    *(("HuberLoss", NONE | {"delta": delta}, every(VALUES, VALUES)) for delta in (1.0, 0.5)),
    ("BCELoss", NONE, every(PROBABILITIES, PROBABILITIES)),
    ("BCEWithLogitsLoss", NONE, every(VALUES, VALUES)),
    ("BCEWithLogitsLoss", NONE | {"pos_weight": torch.tensor(3.0)}, every(VALUES, PROBABILITIES)),
    ("MultiLabelSoftMarginLoss", NONE, [x[:, None] for x in every(VALUES, FINITE)]),
    ("SoftMarginLoss", NONE, [WHOLE[0], WHOLE[1].long()]),
    ("KLDivLoss", NONE, every(VALUES, VALUES)),
    ("KLDivLoss", NONE | {"log_target": True}, every(VALUES, [-1.0, 0.0, 2.0, -INF, NAN])),
    *(
        ("PoissonNLLLoss", NONE | {"log_input": log_input, "full": full}, every(VALUES, FINITE))
        for log_input in (True, False)
        for full in (True, False)
    ),
    ("GaussianNLLLoss", NONE, every([0.0, 1.0, -2.0, INF], [0.0, 1.0, NAN], [0.0, 1e-6, 1e-7, 1.0, INF, NAN])),
    ("GaussianNLLLoss", NONE | {"eps": 0.5}, every([0.0, 1.0], [0.0, 3.0], [0.0, 0.5, 0.25, 1.0])),
    ("HingeEmbeddingLoss", NONE, WHOLE),
    ("HingeEmbeddingLoss", NONE | {"margin": 0.5}, [WHOLE[0], WHOLE[1].long()]),
    *(
        (
            "MarginRankingLoss",
            NONE | {"margin": margin},
            every(VALUES, [0.0, 1.0, -1.0, INF, NAN], [1.0, -1.0, 0.0, 0.5]),
        )
        for margin in (0.0, 1.0)
    ),
    *(("PairwiseDistance", {"p": p, "eps": 0.0}, PAIRS) for p in (2.0, 1.0, 0.0, 3.0, 0.5, 1.5, INF, -INF, -1.0)),
    ("CosineSimilarity", {}, PAIRS),
    ("CosineSimilarity", {"eps": 1.5}, PAIRS),
    *(("CosineEmbeddingLoss", NONE, [*PAIRS, torch.full((len(PAIRS[0]),), sign)]) for sign in (1, -1, 0)),
    ("CosineEmbeddingLoss", NONE | {"margin": 1.0}, [*PAIRS, torch.full((len(PAIRS[0]),), -1)]),
    *(
        ("TripletMarginLoss", NONE | {"swap": swap, "p": p, "eps": 0.0}, TRIPLES)
        for swap in (False, True)
        for p in (1.0, 2.0, INF)
    ),
    *(
        ("MultiMarginLoss", NONE | {"p": p}, [SCORES, torch.full((len(SCORES),), target)])
        for p in (1, 2)
        for target in (0, 2)
    ),
    *(("MultiLabelMarginLoss", NONE, [SCORES, torch.tensor(row).expand(SCORES.shape).clone()]) for row in LISTS),
]


def leaves(inputs: list[Tensor], variable: Any) -> list[Any]:
    return [variable(x.clone()) if x.is_floating_point() else x for x in inputs]


def tracked(x: Tensor) -> Tensor:
    return x.requires_grad_()


@pytest.mark.filterwarnings("ignore:reduction")
@pytest.mark.parametrize("formulas", [False, True], ids=["kernels", "formulas"])
@pytest.mark.parametrize(("name", "options", "inputs"), EXTREMES, ids=[f"{row[0]} {row[1]}" for row in EXTREMES])
def test_kinks_and_extremes_are_pytorchs(
    name: str, options: dict[str, Any], inputs: list[Tensor], formulas: bool
) -> None:
    """Every combination of special values, each a term of its own. NaN where PyTorch has NaN."""
    mine, theirs = leaves(inputs, nn.Variable), leaves(inputs, tracked)
    with functional.formulas() if formulas else nullcontext():
        y, twin = getattr(nn, name)(**options)(*mine), getattr(torch.nn, name)(**options)(*theirs)
        y.backward(torch.ones_like(twin))
        twin.backward(torch.ones_like(twin))
    close = {"rtol": 1e-12, "atol": 1e-13, "equal_nan": True}
    torch.testing.assert_close(y.detach(), twin.detach(), **close)
    for x, x_twin in zip(mine, theirs, strict=True):
        if isinstance(x, nn.Variable) and x_twin.grad is not None:
            torch.testing.assert_close(x.grad_v, x_twin.grad, **close)


CANCELLING = [
    "BCELoss",
    "BCEWithLogitsLoss-pos_weight",
    "Bilinear",
    "CosineEmbeddingLoss",
    "CosineSimilarity",
    "GaussianNLLLoss",
    "GaussianNLLLoss-eps",
    "KLDivLoss",
    "MultiLabelSoftMarginLoss",
    "PoissonNLLLoss",
    "PoissonNLLLoss-full",
    "PoissonNLLLoss-rate",
    "TripletMarginLoss",
]


@pytest.mark.parametrize("name", CANCELLING)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_short_floats_are_as_near_as_pytorchs(name: str, dtype: torch.dtype) -> None:
    """Where terms cancel two orders of rounding differ; then the distance from what float64 gives is what counts."""
    case = next(case for case in CASES if case.name == name)
    mine = theirs = 0.0
    for _ in range(20):
        inputs = contract.cast(case.inputs[0](), dtype)
        module, twin = contract.pair(case, dtype)
        exact = case.make_twin().double()
        exact.load_state_dict(twin.state_dict())
        x, x_twin = contract.leaves(inputs), contract.twin_leaves(inputs)
        x_exact = contract.twin_leaves(contract.cast(inputs, torch.float64))
        y, y_twin, y_exact = module(*x), twin(*x_twin), exact(*x_exact)
        upstream = torch.randn_like(y_twin)
        y.backward(upstream)
        y_twin.backward(upstream)
        y_exact.backward(upstream.double())
        found, found_twin = contract.found(module, x), contract.found(twin, x_twin)
        for which, right in contract.found(exact, x_exact).items():
            if right is not None:
                scale = float(right.abs().max()) or 1.0
                mine += float((found[which].double() - right).abs().max()) / scale  # type: ignore[union-attr]
                theirs += float((found_twin[which].double() - right).abs().max()) / scale  # type: ignore[union-attr]
    assert mine <= 1.15 * theirs


def test_a_mean_over_no_samples_is_nan_and_a_sum_0() -> None:
    """PyTorch's kernels of these two give back memory as they found it."""
    scores = torch.randn(0, 3)
    for loss, target in (
        (nn.MultiMarginLoss, torch.zeros(0).long()),
        (nn.MultiLabelMarginLoss, torch.zeros(0, 3).long()),
    ):
        for reduction, expected in (("mean", NAN), ("sum", 0.0)):
            x = nn.Variable(scores.clone())
            y = loss(reduction=reduction)(x, target)
            y.backward()
            assert y.item() == expected or math.isnan(y.item()) == math.isnan(expected)
            assert x.grad_v is not None
            assert x.grad_v.shape == scores.shape
        assert loss(reduction="none")(scores, target).shape == (0,)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_class_margins_in_short_floats(dtype: torch.dtype) -> None:
    """For which PyTorch has no kernels: the formulas run."""
    x = torch.randn(4, 3).to(dtype)
    for loss, target in (
        (nn.MultiMarginLoss(), torch.tensor([0, 2, 1, 1])),
        (nn.MultiLabelMarginLoss(), torch.eye(3).long()[[0, 1, 2, 0]]),
    ):
        short, long = nn.Variable(x), nn.Variable(x.double())
        loss(short, target).backward()
        loss(long, target).backward()
        assert short.grad_v is not None
        assert short.grad_v.dtype is dtype
        torch.testing.assert_close(short.grad_v.double(), long.grad_v, rtol=2e-2, atol=1e-3)


# Of the floating-point ones, shape and dtype; the values are drawn.
MIXED: list[tuple[str, list[Tensor]]] = [
    ("MSELoss", [torch.zeros(3), torch.zeros(3).double()]),
    ("L1Loss", [torch.zeros(3).double(), torch.zeros(3)]),
    ("SmoothL1Loss", [torch.zeros(3), torch.tensor([1, 0, 2])]),
    ("BCEWithLogitsLoss", [torch.zeros(3), torch.zeros(3).double()]),
    ("PoissonNLLLoss", [torch.zeros(3), torch.tensor([1, 0, 2])]),
    ("PoissonNLLLoss", [torch.zeros(2, 3), torch.tensor(2.0).double()]),
    ("GaussianNLLLoss", [torch.zeros(3), torch.tensor([1, 0, 2]), torch.zeros(3).double()]),
    ("MarginRankingLoss", [torch.zeros(3), torch.zeros(3).double(), torch.tensor([1, -1, 1])]),
    ("MultiLabelSoftMarginLoss", [torch.zeros(2, 3), torch.tensor([[1, 0, 1]])]),
    ("CosineEmbeddingLoss", [torch.zeros(2, 3), torch.zeros(2, 3).double(), torch.tensor([1, -1])]),
    ("CosineSimilarity", [torch.zeros(2, 3), torch.tensor([[1, 2, 3]])]),
    ("PairwiseDistance", [torch.zeros(2, 3), torch.zeros(3).double()]),
    ("TripletMarginLoss", [torch.zeros(2, 3), torch.zeros(2, 3).double(), torch.zeros(1, 3)]),
]


@pytest.mark.parametrize(("name", "inputs"), MIXED, ids=[row[0] for row in MIXED])
def test_dtypes_are_promoted_and_each_gradient_has_its_inputs(name: str, inputs: list[Tensor]) -> None:
    """To the tolerance of float32, in which PyTorch computes some parts of what it promotes."""
    inputs = [torch.rand_like(x) + 0.1 if x.is_floating_point() else x for x in inputs]
    close = {"rtol": 1e-5, "atol": 1e-6}
    mine, theirs = leaves(inputs, nn.Variable), leaves(inputs, tracked)
    y, twin = getattr(nn, name)()(*mine), getattr(torch.nn, name)()(*theirs)
    y.sum().backward()
    twin.sum().backward()
    torch.testing.assert_close(y.detach(), twin.detach(), **close)
    for x, x_twin in zip(mine, theirs, strict=True):
        if isinstance(x, nn.Variable):
            torch.testing.assert_close(x.grad_v, x_twin.grad, **close)


def test_a_target_gets_a_gradient_where_pytorch_gives_none() -> None:
    """SoftMarginLoss is symmetric in input and target."""
    x, t = nn.Variable(torch.randn(4)), nn.Variable(torch.randn(4))
    nn.SoftMarginLoss()(x, t).backward()
    x_twin, t_twin = tracked(x.detach().clone()), tracked(t.detach().clone())
    torch.log1p(torch.exp(-x_twin * t_twin)).mean().backward()
    torch.testing.assert_close(x.grad_v, x_twin.grad)
    torch.testing.assert_close(t.grad_v, t_twin.grad)


def test_only_what_the_wanted_gradients_read_is_kept() -> None:
    x, t = torch.randn(3), torch.rand(3)
    for loss, inputs, kept in [
        (nn.KLDivLoss(reduction="sum"), (nn.Variable(x), t), [False, True]),
        (nn.KLDivLoss(reduction="sum"), (x, nn.Variable(t)), [True, True]),
        (nn.BCEWithLogitsLoss(), (x, nn.Variable(t)), [True, False, False, False]),
        (nn.HingeEmbeddingLoss(), (x, nn.Variable(t)), [False, False]),
    ]:
        assert [value is not None for value in loss(*inputs)._source[0].saved] == kept


def test_a_variance_may_be_a_number() -> None:
    x, t = torch.randn(3, dtype=torch.float64), torch.randn(3, dtype=torch.float64)
    for number in (2.0, 2, 0.0):
        mine, theirs = nn.Variable(x.clone()), tracked(x.clone())
        y, twin = nn.GaussianNLLLoss()(mine, t, number), torch.nn.GaussianNLLLoss()(theirs, t, float(number))
        y.backward()
        twin.backward()
        torch.testing.assert_close(y.detach(), twin.detach())
        torch.testing.assert_close(mine.grad_v, theirs.grad)


def test_a_distance_that_is_trained() -> None:
    """distance_function may be any function of Variables; a module is the loss's own, its parameters are trained."""

    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.tensor([1.0, 2.0, 3.0]))

        def forward(self, x1: Any, x2: Any) -> Any:
            return ((x1 - x2) * self.scale).square().sum(-1)

    loss = nn.TripletMarginWithDistanceLoss(distance_function=Scaled(), swap=True)
    assert [name for name, _ in loss.named_parameters()] == ["distance_function.scale"]
    a, p, n = (nn.Variable(torch.randn(4, 3)) for _ in range(3))
    loss(a, p, n).backward()
    twins = [tracked(v.detach().clone()) for v in (a, p, n)]
    scale = tracked(torch.tensor([1.0, 2.0, 3.0]))
    twin = torch.nn.TripletMarginWithDistanceLoss(
        distance_function=lambda x1, x2: ((x1 - x2) * scale).square().sum(-1), swap=True
    )
    twin(*twins).backward()
    torch.testing.assert_close(loss.distance_function.scale.grad_v, scale.grad)
    for mine, theirs in zip((a, p, n), twins, strict=True):
        torch.testing.assert_close(mine.grad_v, theirs.grad)


def test_a_weight_that_is_not_trained_may_be_of_any_kind() -> None:
    x, t, frozen = nn.Variable(torch.rand(3)), torch.rand(3), nn.Parameter(torch.tensor([1.0, 2.0, 3.0]), grad_f=False)
    expected = nn.BCELoss(frozen.data)(x, t).detach()
    loss = nn.BCELoss(frozen)
    assert type(loss.weight) is Tensor
    assert torch.equal(loss(x, t).detach(), expected)
    with nn.no_grad():
        assert torch.equal(nn.BCELoss(nn.Variable(frozen.data))(x, t), expected)

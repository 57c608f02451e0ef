"""Operators at the values where derivatives go wrong: zeros of both signs, infinities, NaN, ties and bounds.

PyTorch's autograd is the oracle, NaN for NaN. Where a formula is meant to differ, its row says so.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from modgrad import functional, nn
from modgrad.nn.operators.elementwise import BINARY, UNARY

inf, nan = float("inf"), float("nan")
SPECIAL = [0.0, -0.0, inf, -inf, nan, 1.0, -1.0, 0.5, -0.5, 2.0, -3.0, 1e-200, 1e200]
PAIRS = torch.tensor([*itertools.product(SPECIAL, SPECIAL)], dtype=torch.float64).T
# As PyTorch's, up to a few hundred roundings of the values themselves.
TIGHT = {"rtol": 1e-12, "atol": 1e-13, "equal_nan": True}

# One row each: with ties, zeros, NaN, infinities.
ROWS = torch.tensor(
    [
        [1.0, 3.0, 3.0, 2.0, 3.0],
        [0.0, 0.0, 0.0, 0.0, 0.0],
        [0.0, -0.0, 1.0, -1.0, 2.0],
        [nan, 1.0, 5.0, 1.0, nan],
        [2.0, 0.0, -3.0, 4.0, 0.5],
        [2.0, 0.0, -3.0, 0.0, 0.5],
        [-2.0, -2.0, 2.0, 2.0, 1.0],
    ],
    dtype=torch.float64,
)
INFINITE = torch.tensor(
    [[inf, 1.0, inf, -2.0], [-inf, -inf, -inf, -inf], [-inf, 1.0, 0.0, inf], [nan, inf, 1.0, -inf]],
    dtype=torch.float64,
)


def assert_as_pytorch(use: Callable[..., Any], *inputs: Tensor) -> None:
    """Values and gradients of every float output, for a random upstream gradient and for one of zeros."""
    for scale in (1.0, 0.0):
        mine = [nn.Variable(x.clone()) for x in inputs]
        theirs = [x.clone().requires_grad_() for x in inputs]
        outputs, twins = _floats(use(*mine)), _floats(use(*theirs))
        assert len(outputs) == len(twins)
        for output, twin in zip(outputs, twins, strict=True):
            torch.testing.assert_close(output.detach(), twin.detach(), **TIGHT)
            for x in theirs:
                x.grad = None
            for x in mine:
                x.grad_v = None
            if not isinstance(output, nn.Variable):  # constant almost everywhere
                twin.sum().backward(retain_graph=True)
                assert not any(x.grad.any() for x in theirs if x.grad is not None)
                continue
            upstream = torch.randn_like(twin) * scale
            output.backward(upstream, retain_graph=True)
            twin.backward(upstream, retain_graph=True)
            for x, twin_x in zip(mine, theirs, strict=True):
                expected = torch.zeros_like(twin_x) if twin_x.grad is None else twin_x.grad
                found = torch.zeros_like(expected) if x.grad_v is None else x.grad_v
                torch.testing.assert_close(found, expected, **TIGHT)


def _floats(outputs: Any) -> list[Any]:
    outputs = outputs if isinstance(outputs, (tuple, list)) else [outputs]
    return [y for y in outputs if y.is_floating_point()]


INDICES: list[Any] = [
    *((), 0, ..., None, slice(1, 3), (slice(None), 1), [2, 0, 2], [True, False] * 3 + [True], (0, None, ..., [1, 1])),
    *(torch.tensor(3), torch.tensor(True), torch.tensor([2, -1, 2]), ROWS > 0, ROWS[:, 0] > 0, ROWS[:, 0] > 9),
    *((torch.tensor([0, 0]), torch.tensor([1, 1])), (torch.tensor([[0], [5]]), torch.tensor([1, 1, -1]))),
    *((ROWS[:, 0] > 1, torch.tensor([1, 1])), (ROWS[:, 0] > 1, ROWS[2] > 0), (slice(None), torch.tensor([1, 1]))),
    *((slice(0, 4), torch.tensor([1, 1])), (torch.tensor([1, 1]), slice(1, 3)), (1, torch.tensor([1, 1]))),
    *((torch.tensor([1, 1]), None, torch.tensor([0, 0])), (None, slice(None), torch.tensor([0, 0]))),
    *(torch.zeros(0, dtype=torch.int64), (ROWS[:, 0] > 0).to(torch.uint8), torch.tensor([1, 1]).int()),
]


@pytest.mark.filterwarnings("ignore:indexing with dtype torch.uint8")
@pytest.mark.parametrize("index", INDICES, ids=range(len(INDICES)))
def test_indices(index: Any) -> None:
    values = torch.randn(7, 5, dtype=torch.float64)
    assert_as_pytorch(lambda x: x[index], values)
    with functional.formulas():
        assert_as_pytorch(lambda x: x[index], values)


def test_logit_by_formula() -> None:
    for eps in (None, 0.1):
        with functional.formulas():
            assert_as_pytorch(lambda x, e=eps: torch.logit(x, e), torch.tensor(SPECIAL).double())


@pytest.mark.parametrize("name", [*UNARY, "square", "reciprocal", "sigmoid", "tanh", "relu", "nan_to_num", "logit"])
def test_unary(name: str) -> None:
    assert_as_pytorch(getattr(torch, name, None) or getattr(torch.special, name), torch.tensor(SPECIAL).double())


CONSTANT = ["floor", "ceil", "round", "trunc", "sign", "sgn", "angle", "fix"]


@pytest.mark.parametrize("name", CONSTANT)
def test_steps_are_constants(name: str) -> None:
    x = nn.Variable(torch.tensor(SPECIAL).double())
    y = getattr(torch, name)(x)
    assert type(y) is Tensor
    torch.testing.assert_close(y, getattr(torch, name)(x.detach()), **TIGHT)


@pytest.mark.parametrize("name", BINARY)
def test_binary(name: str) -> None:
    function = getattr(torch, name, None) or getattr(torch.special, name)
    assert_as_pytorch(function, *PAIRS)
    assert_as_pytorch(lambda x: function(x, x.detach().flip(0)), PAIRS[0])
    assert_as_pytorch(lambda x: function(x.detach().flip(0), x), PAIRS[1])


@pytest.mark.parametrize("number", [0, 0.0, 1, -1, 2.5, -inf, inf, nan])
@pytest.mark.parametrize(
    "use",
    [
        lambda x, n: torch.xlogy(x, n),
        lambda x, n: torch.xlogy(n, x),
        lambda x, n: torch.special.xlog1py(x, n),
        lambda x, n: torch.special.xlog1py(n, x),
        lambda x, n: torch.copysign(x, n),
        lambda x, n: torch.clamp(x, n),
        lambda x, n: torch.clamp(x, max=n),
        lambda x, n: torch.clip(x, n, 1),
        lambda x, n: x.clamp(-1, n),
        lambda x, n: x.clamp_min(n),
        lambda x, n: x.clamp_max(n),
        lambda x, n: x**n,
        lambda x, n: n**x,
        lambda x, n: torch.where(x > 0, x, n),
        lambda x, n: torch.where(x > 0, n, x),
        lambda x, n: x.masked_fill(x > 0, n),
        lambda x, n: torch.lerp(x, x * 2, n),
        lambda x, n: torch.addcmul(x, x, x, value=n),
        lambda x, n: torch.addcdiv(x, x, x, value=n),
        lambda x, n: torch.nan_to_num(x, n, 3.0, -4.0),
        lambda x, n: torch.float_power(x, n),
    ],
)
def test_with_a_number(use: Callable[..., Any], number: float) -> None:
    assert_as_pytorch(lambda x: use(x, number), torch.tensor(SPECIAL).double())


@pytest.mark.parametrize("number", [1, 2.5, -2, inf])
@pytest.mark.parametrize(
    "use",
    [
        lambda x, n: torch.fmod(x, n),
        lambda x, n: x % n,
        lambda x, n: torch.div(x, n, rounding_mode="floor"),
        lambda x, n: torch.div(x, n, rounding_mode="trunc"),
    ],
)
def test_remainders_with_a_number(use: Callable[..., Any], number: float) -> None:
    assert_as_pytorch(lambda x: use(x, number), torch.tensor(SPECIAL).double())


def test_a_number_with_a_remainder() -> None:
    """For which PyTorch has no derivative, but of a tensor of that number."""
    x = nn.Variable(torch.tensor(SPECIAL).double())
    y = x.detach().clone().requires_grad_()
    upstream = torch.randn_like(y)
    (2.5 % x).backward(upstream)
    (torch.full_like(y, 2.5) % y).backward(upstream)
    torch.testing.assert_close(x.grad_v, y.grad, **TIGHT)


@pytest.mark.parametrize(
    "use",
    [
        torch.clamp,
        lambda x, low, high: torch.clamp(x, low),
        lambda x, low, high: torch.clamp(x, max=high),
        lambda x, low, high: x.clamp_min(low) + x.clamp_max(high),
        torch.lerp,
        torch.addcmul,
        torch.addcdiv,
        lambda x, y, z: torch.where(x < y, y, z),
    ],
)
def test_of_three(use: Callable[..., Any]) -> None:
    few = [0.0, inf, -inf, nan, 1.0, -1.0, 0.5, 2.0]
    assert_as_pytorch(use, *torch.tensor([*itertools.product(few, few, few)], dtype=torch.float64).T)


@pytest.mark.parametrize("name", ["max", "min", "median", "nanmedian"])
def test_of_all_values_ties_share(name: str) -> None:
    for row in [*ROWS, *INFINITE]:
        assert_as_pytorch(getattr(torch, name), row)


ALONG: list[Callable[..., Any]] = [
    *(lambda x, n=name: getattr(torch, n)(x, -1) for name in ("max", "min", "median", "nanmedian", "mode")),
    *(lambda x, n=name: getattr(torch, n)(x, 1) for name in ("cummax", "cummin", "cumsum", "sort", "amax", "amin")),
    *(lambda x, n=name: getattr(x, n)((0, 1), keepdim=True) for name in ("amax", "amin", "nansum", "nanmean")),
    lambda x: x.aminmax(dim=1),
    lambda x: x.aminmax(),
    lambda x: x.kthvalue(2, 1, True),
    lambda x: x.topk(3, 1, sorted=False),
    lambda x: x.topk(2, 0, largest=False),
    lambda x: x.sort(descending=True, stable=True),
    lambda x: x.logsumexp(1),
    lambda x: x.logsumexp((0, 1), True),
    lambda x: x.nansum(),
    lambda x: x.nanmean(1, dtype=torch.float64),
    lambda x: x.softmax(1).log_softmax(0),
    lambda x: torch.logcumsumexp(x, 1),
    lambda x: torch.quantile(x, 0.3, 1),
    lambda x: torch.nanquantile(x, torch.tensor([0.0, 0.5, 1.0]).double(), 1),
    lambda x: torch.diff(x, 2),
    lambda x: torch.std_mean(x, 1)[0],  # whose mean is NaN for infinities in PyTorch, and here what mean() gives
    lambda x: torch.var_mean(x, 1, correction=0, keepdim=True)[0],
    lambda x: x.std(),
    lambda x: x[:1].std(0),
    lambda x: x[:1].var(0, False),
    lambda x: x.var(1, correction=4),
    lambda x: torch.cov(x[:2]),
]


@pytest.mark.filterwarnings("ignore:.*degrees of freedom")
@pytest.mark.parametrize("use", ALONG, ids=range(len(ALONG)))
def test_along(use: Callable[..., Any]) -> None:
    assert_as_pytorch(use, ROWS)
    assert_as_pytorch(use, INFINITE)


NORMS: list[Callable[..., Any]] = [
    *(lambda x, p=p: torch.norm(x, p, 1) for p in (0, 0.5, 1, 1.5, 2, 3, inf, -inf, -1.5)),
    *(lambda x, p=p: torch.linalg.vector_norm(x, p) for p in (0, 1, 2, 2.5, inf, -inf)),
    *(lambda x, p=p: torch.linalg.norm(x, p) for p in ("fro", 1, -1, inf, -inf, None)),
    *(lambda x, p=p: torch.linalg.matrix_norm(x.unsqueeze(0), p, keepdim=True) for p in ("fro", 1, -inf)),
    lambda x: x.norm(),
    lambda x: x.norm(p=3, dim=(0, 1), keepdim=True),
    lambda x: x.float().norm(dtype=torch.float64),
    lambda x: torch.linalg.norm(x, 3, dim=0),
    lambda x: torch.dist(x, x.detach() * 2, 3),
    lambda x: torch.dist(x, x.detach()),
]


@pytest.mark.parametrize("use", NORMS, ids=range(len(NORMS)))
def test_norms(use: Callable[..., Any]) -> None:
    for rows in (ROWS, ROWS[1:3], INFINITE):
        assert_as_pytorch(use, rows)


PRODUCTS = [
    *([1.0, 2.0, -3.0, 0.5], [1.0, 0.0, -3.0, 0.5], [0.0, 2.0, 0.0, 0.5], [0.0, 0.0, 0.0, 0.0], [2.0, 3.0, 4.0, 0.0]),
    *([nan, 2.0, 1.0, 3.0], [nan, 0.0, 1.0, 3.0]),
]


def test_products_with_zeros() -> None:
    rows = torch.tensor(PRODUCTS, dtype=torch.float64)
    for row in rows[:5]:
        assert_as_pytorch(torch.prod, row)
        assert_as_pytorch(lambda x: torch.cumprod(x, 0), row)
    assert_as_pytorch(lambda x: x.prod(1, True), rows[:5])
    assert_as_pytorch(lambda x: x.cumprod(1), rows[:5])
    assert_as_pytorch(lambda x: x.prod(0), rows[:1])
    assert_as_pytorch(lambda x: x.prod(1), INFINITE[:2])
    assert_as_pytorch(lambda x: x.prod(0), rows[:0])
    assert_as_pytorch(lambda x: x.prod(), torch.tensor(3.0).double())


@pytest.mark.parametrize("p", [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, inf])
@pytest.mark.parametrize("formulas", [False, True], ids=["kernels", "formulas"])
def test_distances(p: float, formulas: bool) -> None:
    """Vectors that are equal, and that differ equally in several components."""
    a = torch.tensor([[0.0, 0.0, 0.0], [1.0, -1.0, 1.0], [2.0, 1.0, 0.0]], dtype=torch.float64)
    b = torch.tensor([[0.0, 0.0, 0.0], [1.0, -1.0, 2.0]], dtype=torch.float64)
    with functional.formulas() if formulas else nn.keep_values():
        assert_as_pytorch(lambda x, y: torch.cdist(x, y, p), a, b)
        assert_as_pytorch(lambda x, y: torch.cdist(x.unsqueeze(0), y, p), a, b.expand(2, 2, 3).contiguous())


REDUCES = [(how, include) for how in ("sum", "prod", "mean", "amax", "amin") for include in (True, False)]


@pytest.mark.filterwarnings("ignore:.*index_reduce.. is in beta")
@pytest.mark.parametrize(("how", "include"), REDUCES)
def test_scatter_reduce(how: str, include: bool) -> None:
    """Ties within what was sent and with what was there; zeros, one and several at a place."""
    index, row = torch.tensor([[0, 1, 1, 3, 3], [2, 2, 0, 0, 3]]), torch.tensor([1, 1])
    by_row = how.replace("sum", "mean")
    for x, src in [(ROWS[4:6, :4], ROWS[4:6]), (ROWS[:2, :4], ROWS[:2]), (ROWS[:2, :4], ROWS[1:3])]:
        assert_as_pytorch(lambda x, s: x.scatter_reduce(1, index, s, how, include_self=include), x, src)
        assert_as_pytorch(lambda x, s: x.index_reduce(0, row, s, by_row, include_self=include), x, src[:, :4])

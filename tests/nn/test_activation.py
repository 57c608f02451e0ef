"""What activations do beyond the contract: at kinks and infinities, what they keep, what they refuse, how they draw."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch

from modgrad import nn
from modgrad.graph import Randomness

NAN, INFINITY = float("nan"), float("inf")
POINTS = [
    *(0.0, -0.0, NAN, INFINITY, -INFINITY, 1e-30, 1e-3, -1e-3, 0.1, -0.1, 0.5, -0.5, 1.0, -1.0, 3.0, -3.0, 2.9999999),
    *(6.0, 20.0, 25.0, -25.0, 100.0, -100.0, 1000.0, -1000.0, 3e38, -3e38),
]
# The elementwise layers, and arguments at which something changes. Softsign and Hardsigmoid have tests of their own.
LAYERS: list[tuple[str, dict[str, float]]] = [
    *((name, {}) for name in ("ReLU", "ReLU6", "Hardtanh", "SELU", "SiLU", "Mish", "GELU", "Hardswish", "LogSigmoid")),
    *((name, {}) for name in ("Tanh", "Sigmoid", "Tanhshrink", "PReLU", "RReLU")),
    *(("LeakyReLU", {"negative_slope": slope}) for slope in (0.01, 0.0, -0.5)),
    *(("ELU", {"alpha": alpha}) for alpha in (1.0, 0.0, -0.5)),
    *(("CELU", {"alpha": alpha}) for alpha in (1.0, -2.0)),
    *((name, {"lambd": lambd}) for name in ("Hardshrink", "Softshrink") for lambd in (0.5, 0.0)),
    *(("Softplus", {"beta": beta, "threshold": most}) for beta, most in ((1.0, 20.0), (2.0, 1.0), (-2.0, 20.0))),
    *(("Threshold", {"threshold": 0.5, "value": value}) for value in (0.5, 0.1, 2.0, NAN)),
]
NEAR = {torch.float32: 2e-6, torch.float64: 1e-12, torch.bfloat16: 2e-2}


@pytest.mark.parametrize("dtype", NEAR)
@pytest.mark.parametrize("times", [1, 16])  # short ones are computed one by one, long ones as vectors
@pytest.mark.parametrize(("name", "arguments"), LAYERS, ids=str)
def test_kinks_and_infinities_as_in_pytorch(
    name: str, arguments: dict[str, float], times: int, dtype: torch.dtype
) -> None:
    points = torch.tensor(POINTS, dtype=torch.float64).to(dtype).repeat(times)
    mine, theirs = nn.Variable(points.clone()), points.clone().requires_grad_()
    for layers, x in ((nn, mine), (torch.nn, theirs)):
        torch.manual_seed(3)
        y = getattr(layers, name)(**arguments).to(dtype)(x)
        y.backward(torch.full_like(points, 2.0))
        x.value = y.detach()
    near = {"rtol": NEAR[dtype], "atol": NEAR[dtype], "equal_nan": True}
    torch.testing.assert_close(mine.value, theirs.value, **near)
    torch.testing.assert_close(mine.grad_v, theirs.grad, **near)


def test_softsign_at_infinity_has_its_limit() -> None:
    """Where PyTorch gives NaN for the value and for its gradient. The value is the same here."""
    x = nn.Variable(torch.tensor([INFINITY, -INFINITY, NAN, 0.0, -0.0]))
    y = nn.Softsign()(x)
    y.backward(torch.ones(5))
    torch.testing.assert_close(y.detach(), torch.tensor([NAN, NAN, NAN, 0.0, -0.0]), equal_nan=True)
    torch.testing.assert_close(x.grad_v, torch.tensor([0.0, 0.0, NAN, 1.0, 1.0]), equal_nan=True)


def test_hardsigmoid_at_its_kinks() -> None:
    x = nn.Variable(torch.tensor([-3.0, 3.0, -INFINITY, INFINITY, NAN, 0.0]))
    nn.Hardsigmoid()(x).backward(torch.full((6,), 6.0))
    assert x.grad_v.tolist() == [0.0, 0.0, 0.0, 0.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("make", "exact"),
    [
        (lambda n: n.Hardsigmoid(), lambda x: torch.full_like(x, 1 / 6)),
        (lambda n: n.CELU(1.7), lambda x: torch.exp(x.clamp(max=0) / 1.7)),
    ],
)
def test_exact_in_float64_where_pytorch_is_not(make: Any, exact: Any) -> None:
    """PyTorch's derivatives of these two go through a number in single precision."""
    x = nn.Variable(torch.linspace(-2, 2, 9, dtype=torch.float64))
    make(nn)(x).backward(torch.ones(9, dtype=torch.float64))
    torch.testing.assert_close(x.grad_v, exact(x.detach()), rtol=1e-15, atol=0)


def test_tanhshrink_keeps_small_gradients_in_bfloat16() -> None:
    points = torch.linspace(0.01, 0.4, 40)
    exact = points.bfloat16().double().tanh() ** 2
    errors = []
    for layer, x in (
        (nn.Tanhshrink(), nn.Variable(points.bfloat16())),
        (torch.nn.Tanhshrink(), points.bfloat16().requires_grad_()),
    ):
        layer(x).backward(torch.ones(40, dtype=torch.bfloat16))
        errors.append(float(((x.grad.double() - exact) / exact).abs().max()))
    mine, theirs = errors
    assert mine < 3 * 2**-8 < theirs


@pytest.mark.parametrize(
    ("layer", "kept"),
    [
        (nn.LeakyReLU(), "output"),
        (nn.LeakyReLU(-0.1), "input"),
        (nn.Threshold(0.1, 0.0), "output"),
        (nn.Threshold(0.1, 1.0), "input"),
        (nn.Hardtanh(), "output"),
        (nn.Hardshrink(), "output"),
        (nn.Softshrink(), "output"),
        (nn.ELU(), "input"),
    ],
    ids=str,
)
def test_keeps_the_output_where_it_tells_enough(layer: Any, kept: str) -> None:
    x = torch.randn(5)
    y = layer(nn.Variable(x))
    (saved,) = y._source[0].saved
    assert saved.data_ptr() == (x if kept == "input" else y).data_ptr()


def test_prelu_computes_what_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = nn.PReLU(3), torch.randn(4, 3)
    from modgrad import functional

    def never(*_: Any) -> Any:
        raise AssertionError("it was not wanted")

    with monkeypatch.context() as m:
        m.setattr(functional, "prelu_grad_input", never)
        m.setattr(functional, "prelu_backward", never)
        layer(x).backward(torch.ones(4, 3))
    torch.testing.assert_close(layer.weight.grad_v, x.clamp(max=0).sum(0))
    layer.freeze()
    with monkeypatch.context() as m:
        m.setattr(functional, "prelu_grad_weight", never)
        m.setattr(functional, "prelu_backward", never)
        layer(nn.Variable(x)).backward(torch.ones(4, 3))
    layer.weight.data.fill_(7)
    layer.reset_parameters()
    assert layer.weight.tolist() == [0.25] * 3


def test_rrelu_from_a_key() -> None:
    x = torch.randn(200, 300, dtype=torch.float64)
    layer = nn.RReLU(0.2, 0.6)
    with Randomness(torch.tensor([3, 1])):
        y = layer(x)
    with Randomness(torch.tensor([3, 1])):
        assert torch.equal(layer(x), y)
        assert not torch.equal(layer(x), y)
    with Randomness(torch.tensor([3, 1])):
        assert torch.equal(layer(x[:7]), y[:7]), "a batch's first rows have the same noise whatever its size"
    assert torch.equal(y[x > 0], x[x > 0])
    slopes = (y / x)[x < 0]
    assert 0.2 <= float(slopes.min()) < 0.2001
    assert 0.5999 < float(slopes.max()) < 0.6
    assert abs(float(slopes.mean()) - 0.4) < 4 * (0.4 / 12**0.5) / slopes.numel() ** 0.5
    v = nn.Variable(x)
    with Randomness(torch.tensor([3, 1])):
        layer(v).backward(torch.ones_like(x))
    torch.testing.assert_close(v.grad_v, y / x)


@pytest.mark.parametrize(
    "make",
    [
        lambda n: n.ReLU(),
        lambda n: n.ReLU(inplace=True),
        lambda n: n.ReLU6(True),
        lambda n: n.LeakyReLU(0.2, True),
        lambda n: n.PReLU(3),
        lambda n: n.RReLU(),
        lambda n: n.RReLU(0.1, 0.2, True),
        lambda n: n.ELU(0.5, True),
        lambda n: n.CELU(),
        lambda n: n.SELU(True),
        lambda n: n.SiLU(True),
        lambda n: n.Mish(),
        lambda n: n.GLU(0),
        lambda n: n.GELU(),
        lambda n: n.Hardshrink(0.2),
        lambda n: n.Softshrink(1),
        lambda n: n.Hardsigmoid(True),
        lambda n: n.Hardswish(True),
        lambda n: n.Hardtanh(-2, 3.0, True),
        lambda n: n.LogSigmoid(),
        lambda n: n.Softplus(2),
        lambda n: n.Softsign(),
        lambda n: n.Tanhshrink(),
        lambda n: n.Threshold(0.1, 20),
        lambda n: n.Threshold(0.1, 20, True),
        lambda n: n.Softmax2d(),
        lambda n: n.Softmin(1),
        lambda n: n.Softmin(),
    ],
)
def test_repr_is_pytorchs(make: Any) -> None:
    assert repr(make(nn)) == repr(make(torch.nn))


def test_old_names_of_hardtanh() -> None:
    with pytest.warns(FutureWarning, match="write max_val=3"):
        layer = nn.Hardtanh(max_value=3)
    assert (layer.min_val, layer.max_val) == (-1.0, 3)


def test_softmax_and_softmin_choose_a_dimension_as_pytorch_does() -> None:
    for shape in [(), (3,), (2, 3), (2, 3, 4), (2, 3, 4, 5)]:
        x = torch.randn(shape)
        for name in ("Softmin", "Softmax", "LogSoftmax"):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                torch.testing.assert_close(getattr(nn, name)()(x), getattr(torch.nn, name)()(x))


@pytest.mark.parametrize(
    ("use", "error", "says"),
    [
        (lambda: nn.Hardtanh(1.0, 1.0), ValueError, r"Hardtanh\(min_val=1.0, max_val=1.0\): expected the lower one"),
        (lambda: nn.RReLU(0.3, 0.1), ValueError, r"RReLU\(lower=0.3, upper=0.1\): expected two slopes"),
        (lambda: nn.CELU(0), ValueError, r"CELU\(alpha=0\)"),
        (lambda: nn.Softshrink(-1), ValueError, r"Softshrink\(lambd=-1\): expected 0 or more"),
        (
            lambda: nn.GLU()(torch.ones(2, 3)),
            ValueError,
            r"GLU\(dim=-1\).*\(2, 3\): expected a dimension -1 of",
        ),
        (lambda: nn.GLU(2)(torch.ones(2, 4)), ValueError, "expected a dimension 2 of an even size"),
        (lambda: nn.GLU()(torch.ones(())), ValueError, "expected a dimension -1 of an even size"),
        (lambda: nn.Softmax2d()(torch.ones(2, 3)), ValueError, r"Softmax2d.*\(2, 3\): expected \(N, C, H, W\)"),
        (lambda: nn.PReLU(3)(torch.ones(2, 4)), ValueError, r"3 slopes .*\(2, 4\): expected \(N, 3, ...\)"),
        (lambda: nn.PReLU(3)(torch.ones(3)), ValueError, r"3 slopes .*\(3,\): expected \(N, 3, ...\)"),
        (lambda: nn.PReLU()(torch.ones(3).double()), TypeError, r"write input.to\(torch.float32\)"),
        (lambda: torch.prelu(nn.Variable([1.0]), torch.ones(1, 1)), ValueError, "expected one dimension, or none"),
    ],
)
def test_explains_what_it_was_given(use: Any, error: Any, says: str) -> None:
    with pytest.raises(error, match=says):
        use()

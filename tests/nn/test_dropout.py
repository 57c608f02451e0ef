"""What Dropout does beyond the contract: in evaluation, at the ends of p, and drawn from a key."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from modgrad import check, functional, nn
from modgrad.graph import Randomness


def test_gradient_goes_where_values_went() -> None:
    x = nn.Variable(torch.rand(1000, dtype=torch.float64) + 1)
    y = nn.Dropout(0.2)(x)
    upstream = torch.randn(1000, dtype=torch.float64)
    y.backward(upstream)
    mask = y.detach() != 0
    assert x.grad_v is not None
    torch.testing.assert_close(y.detach(), x.detach() * mask / 0.8, rtol=1e-15, atol=0)
    torch.testing.assert_close(x.grad_v, upstream * mask / 0.8, rtol=1e-15, atol=0)
    assert abs(int(mask.sum()) - 800) < 4 * (1000 * 0.2 * 0.8) ** 0.5


def test_saves_the_mask_alone() -> None:
    (saved,) = nn.Dropout()(nn.Variable(torch.ones(5)))._source[0].saved
    assert saved.dtype is torch.bool


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("formulas", [False, True], ids=["kernel", "formula"])
def test_draws_what_pytorch_draws_from_the_same_seed(p: float, dtype: torch.dtype, formulas: bool) -> None:
    x = torch.randn(33, 31, dtype=dtype)
    torch.manual_seed(5)
    theirs = torch.nn.Dropout(p)(x)
    torch.manual_seed(5)
    with functional.formulas() if formulas else nn.no_grad():
        mine = nn.Dropout(p)(x)
    assert torch.equal(mine == 0, theirs == 0)
    torch.testing.assert_close(mine, theirs)
    if not formulas:
        assert torch.equal(mine, theirs)
        torch.manual_seed(5)
        torch.nn.Dropout(p)(x)
        assert torch.equal(torch.rand(1), _after(p, x)), "and leaves the generator where PyTorch does"


def _after(p: float, x: Tensor) -> Tensor:
    torch.manual_seed(5)
    nn.Dropout(p)(x)
    return torch.rand(1)


@pytest.mark.parametrize("layer", [nn.Dropout(0.3).eval(), nn.Dropout(0.0)], ids=["evaluation", "p=0"])
def test_where_all_pass_nothing_is_done(layer: nn.Dropout, monkeypatch: pytest.MonkeyPatch) -> None:
    def forward(self: Any, call: Any, input: Any) -> Any:
        raise AssertionError("it was asked")

    monkeypatch.setattr(nn.Dropout, "forward", forward)
    x, plain = nn.Variable(torch.ones(3)), torch.ones(3)
    assert layer(x) is x
    assert layer(plain) is plain
    assert layer(input=x) is x
    y = nn.Sequential(layer, layer)(x)
    assert y is x
    y = nn.Sequential(layer, nn.Tanh(), layer, layer, nn.Tanh(), layer)(x)
    assert type(y.previous_module) is nn.Tanh
    (inner,) = y.previous_inputs
    assert type(inner.previous_module) is nn.Tanh, "no record between"
    with nn.keep_values():
        y = nn.Sequential(nn.Tanh(), layer, nn.Tanh())(x)
    assert y.previous_inputs[0].previous_inputs[0] is x
    with pytest.raises(TypeError):
        layer(input=x, other=x)


def test_in_training_it_runs_within_sequential() -> None:
    """Also between others, at the start, at the end, and before a composite."""
    composite = nn.Sequential(nn.Tanh())
    for order in ([0, 1], [1, 0], [1, 0, 1], [0, 0], [0, 2], [2, 0, 1], [1, 0, 2]):
        layers = [(nn.Dropout(0.4), nn.Tanh(), composite)[i] for i in order]
        x = [nn.Variable(torch.linspace(0.1, 1, 7)) for _ in range(2)]
        torch.manual_seed(2)
        y = nn.Sequential(*layers)(x[0])
        torch.manual_seed(2)
        z: Any = x[1]
        for layer in layers:
            z = layer(z)
        assert torch.equal(y.detach(), z.detach())
        assert 0 in y.detach()
        for output in (y, z):
            output.backward(torch.arange(7.0))
        assert torch.equal(x[0].grad_v, x[1].grad_v)


def test_all_left_out() -> None:
    x = nn.Variable(torch.tensor([1.0, -2.0, 3.0]))
    for randomness in (nn.keep_values(), Randomness(torch.tensor([0, 0]))):
        x.grad_v = None
        with randomness:
            y = nn.Dropout(1.0)(x)
        y.backward(torch.ones(3))
        assert y.detach().tolist() == [0.0] * 3
        assert x.grad_v.tolist() == [0.0] * 3


def test_probabilities_that_cannot_be() -> None:
    for p in (-0.1, 1.1, float("nan")):
        for layer in (nn.Dropout, nn.Dropout2d, nn.AlphaDropout):
            with pytest.raises(ValueError, match=r"Dropout.*\(p=.*: expected the probability of 0"):
                layer(p)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("Dropout1d", (33, 7)),
        ("Dropout1d", (5, 33, 7)),
        ("Dropout2d", (5, 33, 3, 2)),
        ("Dropout3d", (33, 3, 2, 2)),
        ("Dropout3d", (5, 33, 3, 2, 2)),
        ("AlphaDropout", (33, 31)),
        ("FeatureAlphaDropout", (5, 33, 3)),
    ],
)
def test_every_kind_draws_what_pytorch_draws(name: str, shape: tuple[int, ...], p: float, dtype: torch.dtype) -> None:
    for x in (torch.randn(shape, dtype=dtype), torch.randn(shape[::-1], dtype=dtype).permute(*range(len(shape))[::-1])):
        torch.manual_seed(5)
        theirs = getattr(torch.nn, name)(p)(x)
        after = torch.rand(1)
        torch.manual_seed(5)
        mine = getattr(nn, name)(p)(x)
        assert torch.equal(mine, theirs)
        assert torch.equal(torch.rand(1), after), "and leaves the generator where PyTorch does"


@pytest.mark.parametrize("name", ["Dropout1d", "Dropout2d", "Dropout3d", "FeatureAlphaDropout"])
def test_channels_are_dropped_as_wholes_and_drawn_from_a_key(name: str) -> None:
    directions = int(name[-2]) if name[-1] == "d" else 2
    x = torch.ones(40, 50, *([2] * directions))
    layer = getattr(nn, name)(0.3)
    with Randomness(torch.tensor([3, 1])):
        y = layer(x)
    with Randomness(torch.tensor([3, 1])):
        assert torch.equal(layer(x), y)
        assert not torch.equal(layer(x), y)
    with Randomness(torch.tensor([3, 1])):
        assert torch.equal(layer(x[:7]), y[:7]), "a batch's first rows have the same mask whatever its size"
    of_channel = y.flatten(2)
    assert torch.equal(of_channel, of_channel[:, :, :1].expand_as(of_channel))
    kept = (of_channel[:, :, 0] > 0.9).sum()
    assert abs(int(kept) - 1400) < 4 * (2000 * 0.3 * 0.7) ** 0.5
    (mask,) = layer(nn.Variable(x))._source[0].saved
    assert mask.numel() == 2000


def test_alpha_dropout_keeps_mean_and_variance() -> None:
    torch.manual_seed(0)
    x = torch.randn(400, 500, dtype=torch.float64)
    for p in (0.1, 0.5):
        with Randomness(torch.tensor([3, 1])):
            y = nn.AlphaDropout(p)(x)
        assert abs(float(y.mean())) < 0.02
        assert abs(float(y.var()) - 1) < 0.02


def test_shapes_that_are_no_batch_of_channels() -> None:
    with pytest.raises(ValueError, match=r"Dropout1d.*shape \(2, 3, 4, 5\): expected \(N, C, L\) or \(C, L\)"):
        nn.Dropout1d()(torch.ones(2, 3, 4, 5))
    with pytest.raises(ValueError, match=r"FeatureAlphaDropout.*shape \(2,\): expected \(N, C, ...\)"):
        nn.FeatureAlphaDropout()(torch.ones(2))
    for name, shape, says in (
        ("Dropout2d", (5, 4, 3), "Write Dropout1d if that is what is meant"),
        ("Dropout2d", (5, 4), "Write Dropout if that is what is meant"),
        ("Dropout3d", (5, 4, 3), r"expected \(N, C, D, H, W\) or \(C, D, H, W\)"),
    ):
        x = torch.randn(shape)
        torch.manual_seed(5)
        with pytest.warns(UserWarning, match="D input"):
            theirs = getattr(torch.nn, name)()(x)
        torch.manual_seed(5)
        with pytest.warns(UserWarning, match=says):
            mine = getattr(nn, name)()(x)
        assert torch.equal(mine, theirs)


def test_a_passing_primitive_says_when_it_passes() -> None:
    from modgrad.graph import Passing

    with pytest.raises(RuntimeError, match="write def passes"):
        Passing()(torch.ones(1))


@pytest.mark.parametrize("keyed", [False, True])
def test_check_finds_it_right(keyed: bool) -> None:
    """With torch's generator the check draws the same each time; drawn from a key, a model must rewind by itself."""

    class Rewound(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.4), nn.Tanh(), nn.Dropout(0.2))

        def forward(self, x: Any) -> Any:
            with Randomness(torch.tensor([3, 1])):
                return self.inner(x)

    model = Rewound() if keyed else Rewound().inner
    report = check.gradients(model, torch.randn(5, 3))
    assert report.ok, str(report)
    wrong = nn.Sequential(nn.Linear(3, 4), _Unscaled(0.4))
    assert [fault.module for fault in check.gradients(wrong, torch.randn(5, 3)).faults] == ["1 (_Unscaled)"]


class _Unscaled(nn.Dropout):
    def backward(self, call: Any, grad: Tensor) -> Tensor:
        return super().backward(call, grad) * 0.6

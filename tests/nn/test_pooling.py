"""Pooling layers: what the table of cases does not show."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from modgrad import functional, nn
from modgrad.graph.randomness import Randomness
from tests.functional.arguments.make import normal

SHAPES = {1: (2, 3, 8), 2: (2, 3, 6, 4), 3: (2, 3, 4, 4, 4)}


@pytest.mark.parametrize(
    "make",
    [
        lambda n: n.MaxPool1d(2),
        lambda n: n.MaxPool3d((2, 1, 2), 1, ceil_mode=True),
        lambda n: n.MaxUnpool1d(2),
        lambda n: n.MaxUnpool2d(2, (1, 2), 1),
        lambda n: n.AvgPool1d(2, padding=1),
        lambda n: n.AvgPool2d(2, (1, 2)),
        lambda n: n.AdaptiveAvgPool1d(2),
        lambda n: n.AdaptiveMaxPool3d((2, None, 3)),
        lambda n: n.LPPool2d(2, 3),
        lambda n: n.FractionalMaxPool2d(2, 3),
    ],
)
def test_repr_is_pytorchs(make: Any) -> None:
    mine, twin = make(nn), make(torch.nn)
    assert repr(mine) == repr(twin)
    for name in ("kernel_size", "stride", "padding", "dilation", "output_size", "output_ratio", "norm_type"):
        assert getattr(mine, name, None) == getattr(twin, name, None)


def _special(shape: tuple[int, ...]) -> Tensor:
    """Ties, zeros, infinities and what is not a number, two of them in one window."""
    x = torch.randn(shape, dtype=torch.float64)
    x.flatten()[:6] = torch.tensor([math.nan, math.nan, math.inf, -math.inf, 0.0, 0.0])
    x[1] = 0.0
    return x


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize(
    "make",
    [
        lambda n, d: getattr(n, f"MaxPool{d}d")(2, return_indices=True),
        lambda n, d: getattr(n, f"MaxPool{d}d")(2, 1, 1),
        lambda n, d: getattr(n, f"AdaptiveMaxPool{d}d")(3, return_indices=True),
        lambda n, d: getattr(n, f"AvgPool{d}d")(2, 1, 1, True, False),
        lambda n, d: getattr(n, f"AdaptiveAvgPool{d}d")(3),
        *(lambda n, d, p=p: getattr(n, f"LPPool{d}d")(p, 2) for p in (0.5, 1, 2, 3, -1, math.inf, -math.inf)),
    ],
)
def test_ties_zeros_and_what_is_no_number(make: Any, dims: int) -> None:
    x = _special(SHAPES[dims])
    mine, theirs = nn.Variable(x.clone()), x.clone().requires_grad_()
    y, twin = make(nn, dims)(mine), make(torch.nn, dims)(theirs)
    if isinstance(twin, tuple):
        assert torch.equal(y[1], twin[1])
        y, twin = y[0], twin[0]
    upstream = torch.randn_like(twin)
    y.backward(upstream)
    twin.backward(upstream)
    torch.testing.assert_close(y.detach(), twin.detach(), equal_nan=True)
    torch.testing.assert_close(mine.grad_v, theirs.grad, equal_nan=True, rtol=1e-10, atol=1e-12)


LARGE = {1: (8, 9, 512), 2: (4, 9, 32, 32), 3: (2, 9, 14, 14, 14)}


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("return_indices", [False, True])
def test_large_inputs_go_another_way_to_the_same(dims: int, dtype: torch.dtype, return_indices: bool) -> None:
    """The kernel for channels that are last, with indices in a smaller kind of integer."""
    x = torch.randn(LARGE[dims]).relu().to(dtype)  # with many ties
    x.flatten()[:3] = math.nan
    assert x.numel() >= 2**15
    options = 3, 2, 1, 1, return_indices, True
    mine, theirs = nn.Variable(x.clone()), x.clone().requires_grad_()
    y, twin = getattr(nn, f"MaxPool{dims}d")(*options)(mine), getattr(torch.nn, f"MaxPool{dims}d")(*options)(theirs)
    if return_indices:
        assert torch.equal(y[1], twin[1])
        assert y[1].stride() == twin[1].stride()
        y, twin = y[0], twin[0]
    (indices,) = y._source[0].saved
    assert indices.dtype is (torch.int64 if return_indices else torch.int16)
    torch.testing.assert_close(y.detach(), twin.detach(), rtol=0, atol=0, equal_nan=True)
    assert y.is_contiguous()
    upstream = torch.randn_like(twin)
    y.backward(upstream)
    twin.backward(upstream)
    torch.testing.assert_close(mine.grad_v, theirs.grad, rtol=0, atol=0)


def test_places_beyond_the_smallest_kind_of_integer() -> None:
    x = torch.randn(1, 8, 2**16 + 2)
    mine, theirs = nn.Variable(x.clone()), x.clone().requires_grad_()
    y, twin = nn.MaxPool1d(2)(mine), torch.nn.MaxPool1d(2)(theirs)
    assert y._source[0].saved[0].dtype is torch.int32
    y.sum().backward()
    twin.sum().backward()
    assert torch.equal(mine.grad_v, theirs.grad)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("layer", ["MaxPool", "AvgPool", "AdaptiveMaxPool", "AdaptiveAvgPool"])
def test_channels_last_stay_last(layer: str, dims: int) -> None:
    form = {2: torch.channels_last, 3: torch.channels_last_3d}[dims]
    x = torch.randn(SHAPES[dims]).to(memory_format=form)
    mine, theirs = nn.Variable(x.clone()), x.clone().requires_grad_()
    y, twin = (getattr(n, f"{layer}{dims}d")(2) for n in (nn, torch.nn))
    y, twin = y(mine), twin(theirs)
    assert y.detach().stride() == twin.stride()
    upstream = torch.randn_like(twin)
    y.backward(upstream)
    twin.backward(upstream)
    torch.testing.assert_close(mine.grad_v, theirs.grad)
    if twin.is_contiguous(memory_format=form):  # which PyTorch's others in three dimensions are not
        assert mine.grad_v is not None
        assert mine.grad_v.stride() == theirs.grad.stride()


@pytest.mark.parametrize("layer", [lambda: nn.MaxPool2d(2), lambda: nn.AvgPool2d(2), lambda: nn.AdaptiveAvgPool2d(3)])
def test_the_input_is_not_kept(layer: Any) -> None:
    call = layer()(nn.Variable(torch.randn(2, 3, 6, 6)))._source[0]
    kept = [t for t in (*call.saved, *vars(call).values()) if isinstance(t, Tensor)]
    assert all(t.dtype is torch.int64 and t.shape == (2, 3, 3, 3) for t in kept)
    assert len(kept) == isinstance(call.module, nn.MaxPool2d)


def test_a_size_may_be_changed_after_construction() -> None:
    pool, x = nn.MaxPool2d(2), torch.randn(1, 1, 4, 4)
    pool.stride = 1
    assert pool(x).shape == (1, 1, 3, 3)
    pool.padding = 2
    with pytest.raises(ValueError, match="at most half"):
        pool(x)


@pytest.mark.parametrize("output_size", [None, (7, 9), (2, 3, 7, 9), [7, 8]])
def test_back_to_a_given_size(output_size: Any) -> None:
    x = torch.randn(2, 3, 7, 9)
    pooled, indices = nn.MaxPool2d(2, return_indices=True)(x)
    indices = torch.nn.functional.max_pool2d(torch.randn(2, 3, 6, 8), 2, return_indices=True)[1]
    mine, theirs = nn.Variable(pooled.clone()), pooled.clone().requires_grad_()
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(False)  # PyTorch's would not run
    try:
        twin = torch.nn.MaxUnpool2d(2)(theirs, indices, output_size)
    finally:
        torch.use_deterministic_algorithms(before)
    y = nn.MaxUnpool2d(2)(mine, indices, output_size)
    assert torch.equal(y.detach(), twin.detach())
    upstream = torch.randn_like(twin)
    y.backward(upstream)
    twin.backward(upstream)
    assert torch.equal(mine.grad_v, theirs.grad)


def test_fractional_windows_from_a_seed() -> None:
    """Inside Randomness they are told by the seed and the order of calls; even from 0 to 1, and never 1."""
    pool, x = nn.FractionalMaxPool2d(2, output_ratio=0.6), normal(2, 3, 9, 9)

    def run(seed: int) -> list[Tensor]:
        with Randomness(torch.tensor([seed, 0])):
            return [pool(x), pool(x)]

    first, again, other = run(1), run(1), run(2)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[0], other[0])
    key = functional.random_key(torch.tensor([3, 4]), 0)
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        u = functional.fractional_samples(key, (100, 50, 2), dtype)
        assert u.dtype is dtype
        assert 0 <= u.min() <= 0.01
        assert 0.99 <= u.max() < 1
        assert float(u.double().mean()) == pytest.approx(0.5, abs=0.01)


def test_fractional_windows_that_are_given() -> None:
    x, samples = normal(2, 3, 9, 8), torch.rand(2, 3, 2, dtype=torch.float64)
    mine = nn.FractionalMaxPool2d(2, 4, _random_samples=samples)
    twin = torch.nn.FractionalMaxPool2d(2, 4, _random_samples=samples)
    assert torch.equal(mine(x), twin(x))
    assert list(mine.state_dict()) == list(twin.state_dict())


@pytest.mark.parametrize(
    ("make", "shape", "message"),
    [
        (lambda: nn.MaxPool1d(2), (4,), r"MaxPool1d.*expected \(N, C, L\) or \(C, L\)"),
        (lambda: nn.MaxPool3d(2), (2, 3, 4), r"expected \(N, C, D, H, W\)"),
        (lambda: nn.MaxPool2d(5), (1, 3, 3), r"MaxPool2d.*shape \(1, 3, 3\).*too small"),
        (lambda: nn.AvgPool2d(5), (1, 3, 3), r"AvgPool2d.*shape \(1, 3, 3\).*too small"),
        (
            lambda: nn.AdaptiveMaxPool2d((2, 2, 2)),
            (1, 3, 3),
            r"AdaptiveMaxPool2d\(output_size\): expected a number, or 2",
        ),
        (lambda: nn.LPPool2d(2, 3), (3, 3), r"LPPool2d\(norm_type=2.*expected \(N, C, H, W\)"),
        (lambda: nn.FractionalMaxPool2d(3, 5), (1, 4, 4), "FractionalMaxPool2d.*too large"),
        (lambda: lambda x: nn.MaxUnpool1d(2)(x, x), (1, 3, 4), "MaxUnpool1d.*expected int64 of the input's shape"),
    ],
)
def test_a_wrong_input(make: Any, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()(nn.Variable(torch.ones(shape)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.MaxPool2d((2, 2, 2)), r"MaxPool2d\(kernel_size\): expected a number, or 2 of them for \(H, W\)"),
        (lambda: nn.MaxPool2d(0), r"kernel_size=0\): expected numbers from 1 up"),
        (lambda: nn.MaxPool1d(2, dilation=0), r"dilation=0\)"),
        (lambda: nn.MaxPool2d(2, padding=2), "at most half of a window"),
        (lambda: nn.AvgPool2d(3, padding=2), "at most half of kernel_size"),
        (lambda: nn.AvgPool3d(3, divisor_override=0), "divisor_override=0"),
        (lambda: nn.LPPool1d(0, 2), "no 0th root"),
        (lambda: nn.FractionalMaxPool3d(2), "output_size or output_ratio"),
        (lambda: nn.FractionalMaxPool3d(2, 2, 0.5), "one of the two only"),
        (lambda: nn.FractionalMaxPool2d(2, output_ratio=1.5), "between 0 and 1"),
        (lambda: nn.FractionalMaxPool2d(0, 2), "from 1 up"),
    ],
)
def test_wrong_arguments(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_wrong_places_and_sizes_to_go_back_to() -> None:
    x, indices = torch.ones(1, 2, 2), torch.tensor([[[0, 1], [2, 9]]])
    with pytest.raises(ValueError, match=r"MaxUnpool2d.*shape \(1, 2, 2\)"):
        nn.MaxUnpool2d(1)(x, indices)
    with pytest.raises(ValueError, match=r"output_size=\(9, 4\).*each less than a stride from \(4, 4\)"):
        nn.MaxUnpool2d(2)(x, indices, (9, 4))
    with pytest.raises(ValueError, match=r"output_size=\(4,\)"):
        nn.MaxUnpool2d(2)(x, indices, (4,))

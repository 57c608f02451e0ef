"""What sizes, patches and orders of pixels do beyond the contract: where PyTorch's own kernels do not agree with each
other, layouts, and refusals."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from modgrad import functional, nn
from modgrad.nn.images.interpolation import interpolate

SMOOTHED = ["bilinear", "bicubic"]
if hasattr(torch.ops.aten, "_upsample_lanczos2d_aa"):  # since PyTorch 2.13
    SMOOTHED.append("lanczos")
EXACT = {"rtol": 1e-12, "atol": 1e-13}


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 1, 3, 4), (1, 1, 3, 4, 2)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_nearest_gives_the_gradient_to_the_place_that_it_read(
    mode: str, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    """PyTorch's backward takes other places than its forward where a scale leaves the size as it is, or doubles it."""
    values = torch.arange(torch.Size(shape).numel(), dtype=dtype).reshape(shape)
    for options in ({"scale_factor": 1.3}, {"scale_factor": 2.3}, {"scale_factor": 0.7}, {"size": 82}, {"size": 41}):
        if len(shape) > 3 and "size" in options:
            continue
        x = nn.Variable(values.clone())
        y = interpolate(x, mode=mode, **options)
        upstream = torch.randint(1, 9, y.shape).to(dtype)
        y.backward(upstream)
        read = y.detach().long().flatten()  # each value is its own place
        expected = torch.zeros(values.numel(), dtype=dtype).index_add(0, read, upstream.flatten())
        assert torch.equal(x.grad_v.flatten(), expected)


@pytest.mark.parametrize("mode", SMOOTHED)
@pytest.mark.parametrize("size", [(3, 5), (2, 1), (1, 7), (9, 1), (9, 11)])
def test_antialias(mode: str, size: tuple[int, int]) -> None:
    """Against PyTorch's; where the output is one wide, against PyTorch's of the transposed image, as its rows are all
    the first one there (2.13)."""
    x, other = (torch.randn(2, 3, 7, 6, dtype=torch.float64) for _ in range(2))
    mine, theirs = nn.Variable(x.clone()), x.clone().requires_grad_()
    y = interpolate(mine, size, mode=mode, antialias=True)
    if size[1] == 1:
        twin = F.interpolate(theirs.mT, size[::-1], mode=mode, antialias=True).mT
    else:
        twin = F.interpolate(theirs, size, mode=mode, antialias=True)
    upstream = torch.randn_like(twin)
    y.backward(upstream)
    twin.backward(upstream)
    torch.testing.assert_close(y.detach(), twin.detach(), **EXACT)
    torch.testing.assert_close(mine.grad_v, theirs.grad, **EXACT)
    difference = interpolate(x + other, size, mode=mode, antialias=True) - y.detach()
    torch.testing.assert_close((upstream * difference).sum(), (mine.grad_v * other).sum(), rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_a_scale_that_leaves_the_size_has_its_own_derivative(mode: str) -> None:
    """The sum of upstream * A v is that of (A^T upstream) * v, as A does not depend on the values."""
    for options in ({}, {"antialias": True}):
        x = nn.Variable(torch.randn(1, 2, 3, 2, dtype=torch.float64))
        y = interpolate(x, scale_factor=1.3, mode=mode, **options)
        assert y.shape == x.shape
        upstream = torch.randn(y.shape, dtype=torch.float64)
        y.backward(upstream)
        torch.testing.assert_close((upstream * y.detach()).sum(), (x.grad_v * x.detach()).sum(), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Upsample(scale_factor=2),
        lambda: nn.Upsample(scale_factor=2, mode="bilinear"),
        lambda: nn.PixelShuffle(2),
        lambda: nn.PixelUnshuffle(2),
        lambda: nn.ChannelShuffle(2),
    ],
)
def test_channels_last_stays(make: Any) -> None:
    x = nn.Variable(torch.randn(2, 8, 4, 6).contiguous(memory_format=torch.channels_last))
    y = make()(x)
    assert y.is_contiguous(memory_format=torch.channels_last)
    y.backward(torch.randn_like(y.detach()))
    assert x.grad_v.is_contiguous(memory_format=torch.channels_last)
    other = nn.Variable(x.detach().contiguous())
    torch.testing.assert_close(make()(other).detach(), y.detach())


def test_pixels_of_an_empty_batch() -> None:
    """PyTorch's derivative raises there."""
    for layer, shape, expected in [
        (nn.PixelShuffle(2), (0, 8, 3, 2), (0, 2, 6, 4)),
        (nn.PixelUnshuffle(2), (0, 2, 6, 4), (0, 8, 3, 2)),
    ]:
        x = nn.Variable(torch.empty(shape))
        y = layer(x)
        assert y.shape == expected
        y.sum().backward()
        assert x.grad_v.shape == shape


def test_low_precision_is_rounded_once() -> None:
    """64 gradients of one place, summed: 64 times 1.0078125 is no number of bfloat16's."""
    x = nn.Variable(torch.ones(1, 1, 1, 1, dtype=torch.bfloat16))
    grad = torch.full((1, 1, 8, 8), 1.0078125, dtype=torch.bfloat16)
    nn.Upsample(scale_factor=8)(x).backward(grad)
    assert x.grad_v.item() == torch.tensor(64 * 1.0078125).bfloat16().item()
    by_formula = functional.interpolate_backward.formula(grad, (1, 1, 1, 1), (None, None), "bilinear", False, False)
    assert by_formula.dtype is torch.bfloat16


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda x: nn.Upsample()(x), "give size or scale_factor"),
        (lambda x: nn.Upsample(2, 2)(x), "give size or scale_factor"),
        (lambda x: nn.Upsample((2, 3, 4))(x), r"size=\(2, 3, 4\)\): expected a number, or 2"),
        (lambda x: nn.Upsample(scale_factor=0.1)(x), "there would be nothing left"),
        (lambda x: nn.Upsample(2, align_corners=True)(x), "knows no align_corners"),
        (lambda x: F.interpolate(x, 2, mode="area", antialias=True), "expected 'bilinear', 'bicubic' or 'lanczos'"),
        (lambda x: F.interpolate(x, 2, mode="lanczos"), "with antialias=True"),
        (lambda x: nn.Unfold(9)(x), r"Unfold\(kernel_size=9.*shape \(2, 4, 5, 5\): expected \(N, C, H, W\)"),
        (lambda x: nn.Unfold((1, 2, 3))(x), "a number or a pair"),
        (lambda x: nn.Fold(4, 2)(x), r"Fold\(output_size=4.*expected \(N, C KH KW, L\)"),
        (lambda x: nn.PixelShuffle(3)(x), "a multiple of upscale_factor squared"),
        (lambda x: nn.PixelUnshuffle(2)(x), "multiples of downscale_factor"),
        (lambda x: nn.ChannelShuffle(3)(x), "a multiple of groups"),
    ],
)
def test_what_does_not_fit(use: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        use(nn.Variable(torch.ones(2, 4, 5, 5)))


def test_modes_that_do_not_fit() -> None:
    x = nn.Variable(torch.ones(2, 4, 5, 5))
    with pytest.raises(NotImplementedError, match=r"mode='linear'\).*expected \(N, C, L\)"):
        F.interpolate(x, 2, mode="linear")
    with pytest.raises(NotImplementedError, match="expected one of 'nearest', 'nearest-exact'"):
        F.interpolate(x, 2, mode="cubic")


def test_they_print_as_pytorchs() -> None:
    for make in (
        lambda n: n.Upsample(scale_factor=(2, 3)),
        lambda n: n.Upsample(3, mode="bilinear"),
        lambda n: n.UpsamplingNearest2d(scale_factor=2),
        lambda n: n.Fold((3, 3), 2),
        lambda n: n.Unfold(2, padding=(1, 1)),
        lambda n: n.PixelShuffle(2),
        lambda n: n.PixelUnshuffle(2),
        lambda n: n.ChannelShuffle(2),
    ):
        assert repr(make(nn)) == repr(make(torch.nn))


@pytest.mark.parametrize("wanted", [(True, False), (False, True)])
def test_grid_sample_of_one_that_wants_a_gradient(wanted: tuple[bool, bool]) -> None:
    start = torch.randn(2, 3, 4, 5, dtype=torch.float64), torch.rand(2, 3, 2, 2, dtype=torch.float64) * 2 - 1
    mine = [nn.Variable(x) if w else x for x, w in zip(start, wanted, strict=True)]
    theirs = [x.clone().requires_grad_(w) for x, w in zip(start, wanted, strict=True)]
    y, twin = F.grid_sample(*mine, align_corners=False), F.grid_sample(*theirs, align_corners=False)
    upstream = torch.randn_like(twin)
    y.backward(upstream)
    twin.backward(upstream)
    torch.testing.assert_close(mine[wanted.index(True)].grad_v, theirs[wanted.index(True)].grad, **EXACT)


def test_grids_that_do_not_fit() -> None:
    x = nn.Variable(torch.ones(2, 3, 4, 5))
    grid = torch.zeros(2, 3, 3, 2)
    for use, kind, message in [
        (lambda: F.grid_sample(x, grid[:1]), ValueError, r"expected \(N, C, H, W\) and \(N, OH, OW, 2\)"),
        (lambda: F.grid_sample(x, grid, mode="cubic"), ValueError, "expected a mode of"),
        (lambda: F.grid_sample(x, grid.double()), TypeError, r"write grid.to\(torch.float32\)"),
        (lambda: F.affine_grid(x, (2, 3, 4, 5)), ValueError, r"expected \(N, 2, 3\) and \(N, C, H, W\)"),
        (lambda: F.affine_grid(x[0, :2, :3, :3], (2, 3, 0, 5)), ValueError, "shape"),
    ]:
        with pytest.raises(kind, match=message):
            use()
    with pytest.raises(NotImplementedError, match="bicubic"):
        F.grid_sample(nn.Variable(torch.ones(2, 3, 4, 5, 6)), torch.zeros(2, 1, 1, 1, 3), mode="bicubic")

"""Images and volumes read at any places, with the derivatives towards both; and the places that an affine map takes.

Shapes: input (N, C, H, W) and grid (N, OH, OW, 2), or (N, C, D, H, W) and (N, OD, OH, OW, 3); output (N, C, *) with the
space of the grid. The last dimension of a grid is a place (x, y) or (x, y, z), where -1 and 1 are the ends of the
input: the centres of its outermost pixels if align_corners, else their outer edges.   Jaderberg et al. 2015, section 3.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from modgrad.functional.kernel import kernel

__all__ = ["affine_grid", "affine_grid_backward", "grid_sample", "grid_sample_backward"]

_torch: Any = torch
_aten: Any = torch.ops.aten
_MODES = {"bilinear": 0, "nearest": 1, "bicubic": 2}  # as ATen numbers them
_PADDINGS = {"zeros": 0, "border": 1, "reflection": 2}
_SLOPE = -0.75  # of the cubic weights, at distance 1


class _Tap(NamedTuple):
    """One of the places of a dimension that a value is made of; each (N, P), P being all places of the grid."""

    place: Tensor  # int64
    weight: Tensor
    slope: Tensor  # of the weight, by the grid's number


@kernel(
    lambda input, grid, mode, padding, aligned: _torch.grid_sampler(
        input, grid, _MODES[mode], _PADDINGS[padding], aligned
    )
)
def grid_sample(input: Tensor, grid: Tensor, mode: str, padding_mode: str, align_corners: bool) -> Tensor:
    """y[n,c,p] = sum over places q of x, of w(q_1 - u_1) w(q_2 - u_2) ... x[n,c,q], with u = grid[n,p] in pixels.

    mode, on w: "bilinear", 1 - |d|; "nearest", 1 at the nearest place; "bicubic", Keys' cubic (two dimensions only).
    padding_mode, on places outside: "zeros"; "border", the nearest inside; "reflection", mirrored about the ends.
    """
    values = input.flatten(2)
    found: Any = 0
    exact = _exact(input.dtype)
    for place, taps in _combined(_taps(input.shape, grid, mode, padding_mode, align_corners), input.shape):
        weight = math.prod((tap.weight for tap in taps[1:]), start=taps[0].weight)
        found = found + _read(values, place).to(exact) * weight.unsqueeze(1)
    output: Tensor = found.to(input.dtype).reshape(*input.shape[:2], *grid.shape[1:-1])
    return output


def _grid_sample_backward_kernel(
    grad: Tensor,
    input: Tensor,
    grid: Tensor,
    mode: str,
    padding_mode: str,
    align_corners: bool,
    wanted: tuple[bool, bool] = (True, True),
) -> tuple[Tensor | None, Tensor | None]:
    backward = _aten.grid_sampler_2d_backward if input.dim() == 4 else _aten.grid_sampler_3d_backward
    two = backward(grad, input, grid, _MODES[mode], _PADDINGS[padding_mode], align_corners, wanted)
    return two[0] if wanted[0] else None, two[1] if wanted[1] else None


@kernel(_grid_sample_backward_kernel)
def grid_sample_backward(
    grad: Tensor,
    input: Tensor,
    grid: Tensor,
    mode: str,
    padding_mode: str,
    align_corners: bool,
    wanted: tuple[bool, bool] = (True, True),
) -> tuple[Tensor | None, Tensor | None]:
    """dL/dx[n,c,q] = sum_p dL/dy[n,c,p] w(q_1 - u_1) w(q_2 - u_2) ..., and dL/dgrid, in which the weight of one
    dimension after the other is replaced by its derivative.

    A place held at the border gets no gradient, and none comes from "nearest". wanted: which of the two to give; of
    input only the shape is used where the first alone is.
    """
    exact = _exact(grad.dtype)
    values, upstream = input.flatten(2), grad.flatten(2).to(exact)
    grad_values = upstream.new_zeros(values.shape)
    slopes: list[Any] = [torch.zeros_like(grid[..., 0]).flatten(1).to(exact) for _ in range(grid.shape[-1])]
    for place, taps in _combined(_taps(input.shape, grid, mode, padding_mode, align_corners), input.shape):
        if wanted[0]:
            weight = math.prod((tap.weight for tap in taps[1:]), start=taps[0].weight)
            index = place.unsqueeze(1).expand(-1, values.shape[1], -1)
            grad_values = grad_values.scatter_add(2, index, upstream * weight.unsqueeze(1))
        if wanted[1]:
            towards = (upstream * _read(values, place)).sum(1)
            for d, tap in enumerate(taps):
                others = (other.weight for k, other in enumerate(taps) if k != d)
                slopes[d] = slopes[d] + towards * math.prod(others, start=tap.slope)
    grad_grid = torch.stack(slopes[::-1], -1).reshape(grid.shape).to(grid.dtype)  # x is the last dimension of space
    return grad_values.reshape(input.shape).to(grad.dtype) if wanted[0] else None, grad_grid if wanted[1] else None


def _exact(dtype: torch.dtype) -> torch.dtype:
    """What sums are made in."""
    return dtype if dtype.itemsize >= 4 else torch.float32


def _read(values: Tensor, place: Tensor) -> Tensor:
    """values (N, C, places) at place (N, P): (N, C, P)."""
    return values.gather(2, place.unsqueeze(1).expand(-1, values.shape[1], -1))


def _combined(taps: list[list[_Tap]], shape: Sequence[int]) -> Iterator[tuple[Tensor, tuple[_Tap, ...]]]:
    """Every choice of one tap for each dimension, and the place that it comes to in a channel laid out flat."""
    for chosen in itertools.product(*taps):
        place: Any = 0
        for size, tap in zip(shape[2:], chosen, strict=True):
            place = place * size + tap.place
        yield place, chosen


def _taps(shape: Sequence[int], grid: Tensor, mode: str, padding_mode: str, align_corners: bool) -> list[list[_Tap]]:
    """The taps of each dimension of space, in the order of the input's."""
    exact = grid.to(_exact(grid.dtype)).flatten(1, -2)  # (N, P, 2 or 3)
    rows = []
    for d, size in enumerate(shape[2:]):
        number = exact[..., -1 - d]
        pixel = (number + 1) / 2 * (size - 1) if align_corners else ((number + 1) * size - 1) / 2
        scale = (size - 1) / 2 if align_corners else size / 2
        rows.append(_of_dimension(pixel, scale, size, mode, padding_mode, align_corners))
    return rows


def _of_dimension(
    pixel: Tensor, scale: float, size: int, mode: str, padding_mode: str, align_corners: bool
) -> list[_Tap]:
    if mode == "bicubic":  # here it is the taps that are brought inside, each for itself
        first = pixel.floor()
        return [
            _tap(
                _inside(first + k, size, padding_mode, align_corners)[0],
                _cubic(pixel - first - k),
                _cubic_slope(pixel - first - k) * scale,
                size,
            )
            for k in (-1, 0, 1, 2)
        ]
    pixel, direction = _inside(pixel, size, padding_mode, align_corners)
    if mode == "nearest":
        return [_tap(pixel.round(), torch.ones_like(pixel), torch.zeros_like(pixel), size)]
    first = pixel.floor()
    slope = direction * scale
    return [_tap(first, 1 - (pixel - first), -slope, size), _tap(first + 1, pixel - first, slope, size)]


def _tap(place: Tensor, weight: Tensor, slope: Tensor, size: int) -> _Tap:
    """Outside of the input there are zeros."""
    known = (place >= 0) & (place <= size - 1)
    place = torch.where(known, place, 0).to(torch.int64)
    return _Tap(place, torch.where(known, weight, 0), torch.where(known, slope, 0))


def _inside(pixel: Tensor, size: int, padding_mode: str, align_corners: bool) -> tuple[Tensor, Tensor]:
    """Places brought inside as padding_mode says, and the derivative of that."""
    direction = torch.ones_like(pixel)
    if padding_mode == "zeros":
        return pixel, direction
    if padding_mode == "reflection":
        pixel, direction = _reflected(pixel, size, align_corners)
    direction = torch.where((pixel <= 0) | (pixel >= size - 1), 0, direction)
    return pixel.clamp(0, size - 1), direction


def _reflected(pixel: Tensor, size: int, align_corners: bool) -> tuple[Tensor, Tensor]:
    """Mirrored about both ends as often as needed."""
    low, span = (0.0, size - 1) if align_corners else (-0.5, size)
    if span == 0:
        return torch.zeros_like(pixel), torch.zeros_like(pixel)
    far = (pixel - low).abs()
    extra, times = far.fmod(span), (far / span).floor()
    even = times.fmod(2) == 0
    direction = torch.where(pixel < low, -1.0, 1.0) * torch.where(even, 1.0, -1.0)
    return torch.where(even, extra, span - extra) + low, direction.to(pixel.dtype)


def _cubic(d: Tensor) -> Tensor:
    """Keys 1981, eq. 4, with the slope -3/4 at distance 1."""
    a, d = _SLOPE, d.abs()
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return torch.where(d <= 1, near, far)


def _cubic_slope(d: Tensor) -> Tensor:
    a, sign, d = _SLOPE, d.sign(), d.abs()
    near = (3 * (a + 2) * d - 2 * (a + 3)) * d
    far = (3 * a * d - 10 * a) * d + 8 * a
    return sign * torch.where(d <= 1, near, far)


@kernel(lambda theta, size, align_corners: _torch.affine_grid_generator(theta, size, align_corners))
def affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool) -> Tensor:
    """grid[n,p] = theta[n] (p, 1), for the places p of an image or volume of `size` (N, C, *).

    theta (N, 2, 3) or (N, 3, 4); returns (N, *, 2 or 3).
    """
    places = _places(size, align_corners, theta)  # (P, 3 or 4)
    return (places @ theta.mT).reshape(theta.shape[0], *size[2:], theta.shape[1])


def affine_grid_backward(grad: Tensor, size: Sequence[int], align_corners: bool) -> Tensor:
    """dL/dtheta[n] = sum over p of dL/dgrid[n,p] (p, 1)^T.   grad (N, *, 2 or 3)."""
    return grad.flatten(1, -2).mT @ _places(size, align_corners, grad)


def _places(size: Sequence[int], align_corners: bool, like: Tensor) -> Tensor:
    """(x, y, 1) or (x, y, z, 1) of every place of the space of `size`, row by row."""
    numbers = []
    for n in size[2:]:
        index = torch.arange(n, dtype=like.dtype, device=like.device)
        outer = n - 1 if align_corners else n  # what lies from -1 to 1, in pixels
        numbers.append((2 * index - (n - 1)) / max(outer, 1))
    every = torch.meshgrid(*numbers, indexing="ij")
    return torch.stack([*reversed(every), torch.ones_like(every[0])], -1).flatten(0, -2)

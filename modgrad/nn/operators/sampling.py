"""Reading images at any places, as functions of Variables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from modgrad import functional
from modgrad.graph import Primitive
from modgrad.graph.dispatch import operator

_torch: Any = torch
_MODES = ("bilinear", "nearest", "bicubic")  # in the order of their numbers in torch.grid_sampler
_PADDINGS = ("zeros", "border", "reflection")


class GridSample(Primitive):
    """The input at the places of a grid. Keeps the grid, and the input if the grid's gradient is wanted."""

    autocast = "grid_sampler"

    def forward(
        self, call: Any, input: Tensor, grid: Tensor, mode: str, padding_mode: str, align_corners: bool
    ) -> Tensor:
        if input.dtype != grid.dtype:
            raise TypeError(
                f"grid_sample: the input is {input.dtype}, the grid {grid.dtype}: write grid.to({input.dtype})"
            )
        call.save(input if call.wants(1) else None, grid)
        call.shape, call.how = input.shape, (mode, padding_mode, align_corners)
        return functional.grid_sample(input, grid, *call.how)

    def backward(self, call: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        input, grid = call.saved
        if input is None:  # of which the shape alone is read then
            input = grad.new_zeros(1).expand(call.shape)
        mode, padding_mode, align_corners = call.how
        wanted = call.wants(0), call.wants(1)
        return functional.grid_sample_backward(grad, input, grid, mode, padding_mode, align_corners, wanted)


class AffineGrid(Primitive):
    """The places that affine maps take those of an image to. Keeps nothing."""

    autocast = "affine_grid"

    def forward(self, call: Any, theta: Tensor, size: tuple[int, ...], align_corners: bool) -> Tensor:
        call.how = size, align_corners
        return functional.affine_grid(theta, *call.how)

    def backward(self, call: Any, grad: Tensor) -> Tensor:
        return functional.affine_grid_backward(grad, *call.how)


_GRID_SAMPLE, _AFFINE_GRID = GridSample(), AffineGrid()


def grid_sample(
    input: Any, grid: Any, mode: str = "bilinear", padding_mode: str = "zeros", align_corners: bool | None = None
) -> Any:
    """The input read at the places of the grid; see `functional.grid_sample`. align_corners: False if None."""
    n = input.dim() - 2
    if mode not in _MODES or padding_mode not in _PADDINGS:
        raise ValueError(
            f"grid_sample(mode={mode!r}, padding_mode={padding_mode!r}): expected a mode of {_MODES}, "
            f"a padding_mode of {_PADDINGS}"
        )
    if n not in (2, 3) or grid.dim() != n + 2 or grid.shape[-1] != n or grid.shape[0] != input.shape[0]:
        raise ValueError(
            f"grid_sample was given an input of shape {tuple(input.shape)} and a grid of shape {tuple(grid.shape)}: "
            "expected (N, C, H, W) and (N, OH, OW, 2), or (N, C, D, H, W) and (N, OD, OH, OW, 3)"
        )
    if mode == "bicubic" and n != 2:
        raise NotImplementedError("grid_sample(mode='bicubic'): for an input (N, C, H, W) only")
    return _GRID_SAMPLE(input, grid, mode, padding_mode, bool(align_corners))


@operator(_torch.grid_sampler, _torch.grid_sampler_2d, _torch.grid_sampler_3d)
def _grid_sampler(input: Any, grid: Any, interpolation_mode: int, padding_mode: int, align_corners: bool) -> Any:
    return grid_sample(input, grid, _MODES[interpolation_mode], _PADDINGS[padding_mode], align_corners)


@operator(_torch.affine_grid_generator)
def affine_grid(theta: Any, size: Sequence[int], align_corners: bool | None = None) -> Any:
    """The places that theta takes those of an image of `size` to; see `functional.affine_grid`. align_corners: False if
    None."""
    n = len(size) - 2
    if n not in (2, 3) or tuple(theta.shape[1:]) != (n, n + 1) or theta.shape[0] != size[0]:
        raise ValueError(
            f"affine_grid was given a theta of shape {tuple(theta.shape)} and size={tuple(size)}: expected (N, 2, 3) "
            "and (N, C, H, W), or (N, 3, 4) and (N, C, D, H, W)"
        )
    if min(size) < 1:
        raise ValueError(f"affine_grid(size={tuple(size)}): expected numbers of at least one")
    return _AFFINE_GRID(theta, tuple(size), bool(align_corners))

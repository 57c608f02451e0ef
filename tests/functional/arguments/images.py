from __future__ import annotations

from typing import Any

import torch

from modgrad import functional
from tests.functional.arguments.make import Arguments, normal

INTERPOLATIONS: list[tuple[Any, ...]] = [  # input, size, scales, mode, align_corners, antialias
    ((2, 3, 5), (8,), (None,), "nearest", False, False),
    ((2, 3, 5, 4), (7, 9), (1.5, 2.3), "nearest-exact", False, False),
    ((1, 2, 3, 4, 2), (4, 2, 5), (None, None, None), "nearest", False, False),
    ((2, 3, 5), (8,), (None,), "area", False, False),
    ((2, 3, 5, 4), (3, 7), (None, None), "area", False, False),
    ((1, 2, 3, 4, 2), (4, 2, 5), (None, None, None), "area", False, False),
    ((2, 3, 5), (8,), (1.7,), "linear", False, False),
    ((2, 3, 5), (1,), (None,), "linear", True, False),
    ((2, 3, 5, 4), (3, 8), (0.7, 2.0), "bilinear", False, False),
    ((2, 3, 2, 4), (2, 6), (1.3, 1.5), "bilinear", False, False),
    ((1, 2, 3, 4, 2), (4, 2, 5), (None, None, None), "trilinear", True, False),
    ((2, 3, 5, 4), (3, 9), (0.7, 2.3), "bicubic", False, False),
    ((2, 3, 2, 4), (2, 4), (1.3, 1.0), "bicubic", False, False),
    ((2, 3, 5, 4), (7, 1), (None, None), "bicubic", True, False),
    ((2, 3, 7, 4), (3, 9), (None, None), "bilinear", False, True),
    ((2, 3, 7, 3), (2, 1), (None, None), "bilinear", False, True),
    ((2, 3, 7, 4), (5, 3), (0.8, 0.9), "bicubic", True, True),
    ((2, 3, 7, 9), (5, 4), (None, None), "lanczos", False, True),
]
PATCHES: list[tuple[Any, ...]] = [  # input, kernel_size, dilation, padding, stride
    ((2, 3, 5, 4), (2, 2), (1, 1), (0, 0), (1, 1)),
    ((3, 6, 8), (3, 2), (1, 2), (1, 0), (2, 3)),
    ((0, 3, 6, 8), (1, 2), (1, 2), (2, 1), (2, 3)),
]

LAYOUTS = torch.contiguous_format, torch.channels_last


def _interpolate() -> list[tuple[Any, ...]]:
    return [(normal(*shape), *options) for shape, *options in INTERPOLATIONS]


def _interpolate_backward() -> list[tuple[Any, ...]]:
    return [(normal(*shape[:2], *size), torch.Size(shape), *options) for shape, size, *options in INTERPOLATIONS]


def _fold() -> list[tuple[Any, ...]]:
    rows = []
    for shape, *how in PATCHES:
        patches = functional.unfold(normal(*shape), *how)
        rows.append((torch.randn_like(patches), shape[-2:], *how))
    return rows


SAMPLES = [  # input, grid, mode, padding_mode, align_corners
    (*shapes, mode, padding, aligned)
    for shapes, modes in [
        (((2, 3, 4, 5), (2, 3, 2, 2)), ("bilinear", "nearest", "bicubic")),
        (((2, 3, 1, 5), (2, 6, 1, 2)), ("bilinear", "bicubic")),
        (((2, 2, 3, 4, 2), (2, 3, 2, 2, 3)), ("bilinear", "nearest")),
    ]
    for mode in modes
    for padding in ("zeros", "border", "reflection")
    for aligned in (False, True)
]


def _grid_sample() -> list[tuple[Any, ...]]:
    return [(normal(*shape), normal(*grid) * 1.5, *how) for shape, grid, *how in SAMPLES]


def _grid_sample_backward() -> list[tuple[Any, ...]]:
    rows = [
        (normal(*shape[:2], *grid[1:-1]), normal(*shape), normal(*grid) * 1.5, *how) for shape, grid, *how in SAMPLES
    ]
    return [*rows, (*rows[0], (True, False)), (*rows[0], (False, True))]


ARGUMENTS: Arguments = {
    "grid_sample": _grid_sample,
    "grid_sample_backward": _grid_sample_backward,
    "affine_grid": lambda: [
        (normal(2, n - 2, n - 1), size, aligned)
        for n, size in [(4, (2, 3, 4, 5)), (4, (2, 3, 1, 5)), (5, (2, 1, 3, 4, 2))]
        for aligned in (False, True)
    ],
    "interpolate": _interpolate,
    "interpolate_backward": _interpolate_backward,
    "unfold": lambda: [(normal(*shape), *how) for shape, *how in PATCHES],
    "fold": _fold,
    **{
        name: lambda: [(normal(2, 8, 4, 6).contiguous(memory_format=layout), 2) for layout in LAYOUTS]
        for name in ("pixel_shuffle", "pixel_unshuffle", "channel_shuffle")
    },
}

"""Rows of the table: patches, sizes and orders of pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from tests.cases.table import Case, Inputs, layer, normal, operator

Shape = tuple[int, ...]


def sized(label: str, *shapes: Shape, empty: Shape | None = None, **options: object) -> Case:
    return layer(
        "Upsample",
        *(normal(shape) for shape in shapes),
        label=label,
        uses=("Interpolation",),
        saves=False,
        empty=None if empty is None else normal(empty),
        **options,
    )


def places(image: Shape, grid: Shape) -> Callable[[], Inputs]:
    """An image, and places in and around it that are no ends of a piece of it."""

    def make() -> Inputs:
        input, places = normal(image, grid)()
        return input, (torch.rand_like(places) * 2.9 - 1.45)

    return make


def sampled(label: str, *inputs: Callable[[], Inputs], **options: Any) -> Case:
    options.setdefault("align_corners", False)
    row = {key: options.pop(key) for key in ("empty",) if key in options}
    dtypes = (torch.float32,)  # in bfloat16 PyTorch rounds each sum
    return operator(
        f"grid_sample {label}",
        lambda x, g: functional.grid_sample(x, g, **options),
        *inputs,
        uses="GridSample",
        dtypes=dtypes,
        **row,
    )


CASES = [
    sampled(
        "bilinear",
        places((2, 3, 4, 5), (2, 3, 2, 2)),
        places((1, 2, 3, 4, 2), (1, 2, 3, 2, 3)),
        empty=places((0, 3, 4, 5), (0, 3, 2, 2)),
    ),
    sampled("border", places((2, 3, 4, 5), (2, 3, 2, 2)), padding_mode="border", align_corners=True),
    sampled("nearest, reflection", places((2, 3, 4, 5), (2, 3, 2, 2)), mode="nearest", padding_mode="reflection"),
    sampled("bicubic, reflection", places((2, 3, 4, 5), (2, 3, 2, 2)), mode="bicubic", padding_mode="reflection"),
    operator(
        "affine_grid",
        lambda x: functional.affine_grid(x, (2, 3, 4, 5), align_corners=False),
        normal((2, 2, 3)),
        uses="AffineGrid",
        saves=False,
    ),
    operator(
        "affine_grid of a volume",
        lambda x: functional.affine_grid(x, (2, 1, 3, 2, 4), align_corners=True),
        normal((2, 3, 4)),
        uses="AffineGrid",
        saves=False,
    ),
    layer("Unfold", normal((2, 3, 5, 4)), normal((3, 5, 4)), args=(2,), saves=False, empty=normal((0, 3, 5, 4))),
    layer("Unfold", normal((2, 2, 6, 7)), label="dilated", args=((3, 2), (1, 2), (1, 0), (2, 1)), saves=False),
    layer("Fold", normal((2, 12, 12)), normal((12, 12)), args=((5, 4), 2), saves=False, empty=normal((0, 12, 12))),
    layer("Fold", normal((2, 12, 15)), label="dilated", args=((6, 7), (3, 2), (1, 2), (1, 0), (2, 1)), saves=False),
    sized("nearest", (2, 3, 4), (2, 3, 4, 5), (1, 2, 3, 2, 2), empty=(0, 3, 4), scale_factor=2),
    sized("nearest, any size", (2, 3, 4, 5), size=(7, 3)),
    sized("nearest-exact", (2, 3, 5), (2, 3, 4, 5), (1, 2, 3, 4, 2), mode="nearest-exact", scale_factor=1.5),
    sized("area", (2, 3, 5), (2, 3, 4, 5), (1, 2, 3, 4, 2), mode="area", size=3, empty=(0, 3, 4)),
    sized("linear", (2, 3, 5), mode="linear", scale_factor=1.7, empty=(0, 3, 4)),
    sized("linear, recomputed", (2, 3, 5), mode="linear", scale_factor=1.7, recompute_scale_factor=True),
    sized("bilinear", (2, 3, 4, 5), mode="bilinear", scale_factor=(2, 0.5)),
    sized("trilinear", (1, 2, 3, 4, 2), mode="trilinear", size=(4, 3, 5), align_corners=True),
    sized("bicubic", (2, 2, 4, 5), mode="bicubic", size=(7, 3)),
    sized("bicubic, aligned", (2, 2, 4, 5), mode="bicubic", scale_factor=2.5, align_corners=True),
    layer("UpsamplingNearest2d", normal((2, 3, 4, 5)), args=(None, 2), uses=("Interpolation",), saves=False),
    layer("UpsamplingBilinear2d", normal((2, 3, 4, 5)), args=((3, 8),), uses=("Interpolation",), saves=False),
    layer("PixelShuffle", normal((2, 8, 3, 2)), normal((8, 3, 2)), args=(2,), saves=False),
    layer("PixelUnshuffle", normal((2, 2, 4, 6)), normal((2, 4, 6)), args=(2,), saves=False),
    layer("ChannelShuffle", normal((2, 6, 3, 2)), normal((2, 6, 3)), args=(2,), saves=False, empty=normal((0, 6, 3))),
]

"""Rows of the table: convolution."""

from __future__ import annotations

from typing import Any

import torch

from tests.cases.table import Case, layer, normal, operator

Shape = tuple[int, ...]
# Of padded values: PyTorch sums their gradients in bfloat16, modgrad in float32.
ROUNDED = (torch.float32,)


def function(name: str, *shapes: tuple[Shape, ...], label: str = "", uses: str = "Convolution", **options: Any) -> Case:
    """A convolution called as a function, with gradients for weight and bias as for the input."""
    of_tensors = getattr(torch, name)
    return operator(
        f"{name}{label and ' '}{label}", lambda *x: of_tensors(*x, **options), *(normal(*s) for s in shapes), uses=uses
    )


CASES = [
    layer("Conv2d", normal((2, 4, 6, 5)), normal((4, 6, 5)), args=(4, 3, 3), empty=normal((0, 4, 6, 5))),
    layer(
        "Conv2d", normal((2, 4, 7, 6)), label="strided", args=(4, 6, (3, 2)), stride=(2, 3), padding=(1, 2), groups=2
    ),
    layer("Conv2d", normal((2, 2, 9, 8)), label="dilated", args=(2, 3, 3), dilation=(2, 1), stride=(3, 2), bias=False),
    layer("Conv2d", normal((2, 3, 6, 5)), normal((3, 6, 5)), label="same", args=(3, 2, (4, 3)), padding="same"),
    layer("Conv2d", normal((2, 3, 10, 9)), label="1x1 strided", args=(3, 2, 1), stride=4),
    layer("Conv2d", normal((2, 4, 5, 5)), label="depthwise", args=(4, 8, 3), groups=4, padding=1),
    *(
        layer(
            "Conv2d",
            normal((2, 4, 5, 6)),
            normal((4, 5, 6)),
            label=mode,
            args=(4, 2, (3, 2)),
            padding=(2, 3),
            stride=(2, 1),
            groups=2,
            padding_mode=mode,
            dtypes=ROUNDED,
        )
        for mode in ("reflect", "replicate", "circular")
    ),
    layer(
        "Conv2d",
        normal((2, 2, 5, 6)),
        label="same, reflect",
        args=(2, 3, (4, 3)),
        padding="same",
        dilation=(1, 2),
        padding_mode="reflect",
        dtypes=ROUNDED,
    ),
    layer("Conv1d", normal((2, 4, 7)), normal((4, 7)), args=(4, 3, 3), empty=normal((0, 4, 7))),
    layer("Conv1d", normal((2, 4, 11)), label="strided", args=(4, 6, 3, 3, 2, 2, 2), bias=False),
    layer(
        "Conv1d",
        normal((2, 3, 6)),
        label="same, circular",
        args=(3, 2, 4),
        padding="same",
        padding_mode="circular",
        dtypes=ROUNDED,
    ),
    layer("Conv3d", normal((2, 2, 3, 4, 5)), normal((2, 3, 4, 5)), args=(2, 3, 2), empty=normal((0, 2, 3, 4, 5))),
    layer(
        "Conv3d",
        normal((2, 4, 5, 4, 6)),
        label="strided",
        args=(4, 2, (3, 1, 2)),
        stride=(2, 3, 1),
        padding=(1, 0, 2),
        dilation=(1, 2, 3),
        groups=2,
    ),
    layer(
        "Conv3d",
        normal((1, 1, 3, 4, 3)),
        label="same, replicate",
        args=(1, 2, (2, 3, 4)),
        padding="same",
        padding_mode="replicate",
        dtypes=ROUNDED,
    ),
    layer("ConvTranspose1d", normal((2, 4, 5)), normal((4, 5)), args=(4, 3, 3), empty=normal((0, 4, 5))),
    layer("ConvTranspose1d", normal((2, 4, 5)), label="dilated", args=(4, 6, 3, 1, 1, 1, 2), dilation=3, bias=False),
    layer("ConvTranspose2d", normal((2, 4, 3, 5)), normal((4, 3, 5)), args=(4, 3, 3), empty=normal((0, 4, 3, 5))),
    layer(
        "ConvTranspose2d",
        normal((2, 4, 3, 2)),
        normal((4, 3, 2)),
        label="strided",
        args=(4, 6, (3, 2)),
        stride=(2, 3),
        padding=(1, 0),
        output_padding=(1, 2),
        groups=2,
        dilation=(2, 1),
    ),
    layer(
        "ConvTranspose2d",
        normal((2, 2, 3, 3)),
        label="padded by more than a stride",
        args=(2, 3, 3),
        padding=(0, 1),
        output_padding=(2, 1),
        dilation=3,
    ),
    layer("ConvTranspose3d", normal((2, 2, 2, 3, 2)), normal((2, 2, 3, 2)), args=(2, 3, 2)),
    layer(
        "ConvTranspose3d",
        normal((1, 4, 2, 3, 2)),
        label="strided",
        args=(4, 2, (2, 3, 1)),
        stride=(2, 1, 2),
        padding=(1, 1, 0),
        output_padding=(0, 0, 1),
        groups=2,
        empty=normal((0, 4, 2, 3, 2)),
    ),
    function("conv1d", ((2, 4, 7), (3, 4, 2), (3,)), ((4, 7), (3, 4, 2), (3,)), padding=1),
    function("conv2d", ((2, 4, 7, 6), (2, 2, 3, 2)), label="no bias", stride=[2], dilation=(1, 2), groups=2),
    function("conv2d", ((2, 3, 5, 4), (2, 3, 1, 3), (2,)), label="same", padding="same", dilation=2),
    function("conv3d", ((1, 2, 3, 4, 4), (2, 2, 2, 1, 3), (2,)), padding="valid"),
    *(
        function(f"conv_transpose{n}d", *shapes, uses="TransposedConvolution", stride=2, output_padding=1, groups=2)
        for n, shapes in {
            1: [((2, 4, 3), (4, 1, 3), (2,)), ((4, 3), (4, 1, 3), (2,))],
            2: [((2, 4, 3, 2), (4, 1, 3, 2), (2,))],
            3: [((1, 2, 2, 3, 2), (2, 2, 1, 2, 2))],
        }.items()
    ),
]

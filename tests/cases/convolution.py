"""Rows of the table: convolution."""

from __future__ import annotations

from tests.cases.table import layer, normal

CASES = [
    layer("Conv2d", normal((2, 4, 6, 5)), normal((4, 6, 5)), args=(4, 3, 3), empty=normal((0, 4, 6, 5))),
    layer(
        "Conv2d", normal((2, 4, 7, 6)), label="strided", args=(4, 6, (3, 2)), stride=(2, 3), padding=(1, 2), groups=2
    ),
    layer("Conv2d", normal((2, 2, 9, 8)), label="dilated", args=(2, 3, 3), dilation=(2, 1), stride=(3, 2), bias=False),
    layer("Conv2d", normal((2, 3, 6, 5)), normal((3, 6, 5)), label="same", args=(3, 2, (4, 3)), padding="same"),
    layer("Conv2d", normal((2, 3, 10, 9)), label="1x1 strided", args=(3, 2, 1), stride=4),
    layer("Conv2d", normal((2, 4, 5, 5)), label="depthwise", args=(4, 8, 3), groups=4, padding=1),
]

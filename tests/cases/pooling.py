"""Rows of the table: pooling."""

from __future__ import annotations

from tests.cases.table import distinct, layer, normal

CASES = [
    layer("MaxPool2d", distinct((2, 3, 6, 5)), distinct((3, 6, 5)), args=(2,)),
    layer("MaxPool2d", distinct((2, 3, 7, 8)), label="overlapping", args=((3, 2),), stride=(2, 1), padding=(1, 0)),
    layer("MaxPool2d", distinct((2, 3, 8, 7)), label="dilated", args=(2, 3), dilation=2, ceil_mode=True),
    layer("MaxPool2d", distinct((2, 3, 6, 5)), label="indices", args=(2,), return_indices=True),
    layer("AdaptiveAvgPool2d", normal((2, 3, 6, 5)), normal((3, 6, 5)), args=(1,), saves=False),
    layer("AdaptiveAvgPool2d", normal((2, 3, 7, 5)), label="uneven", args=((3, None),), saves=False),
    layer("AdaptiveAvgPool2d", normal((2, 3, 2, 3)), label="larger", args=((4, 5),), saves=False),
]

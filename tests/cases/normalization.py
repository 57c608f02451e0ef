"""Rows of the table: normalization."""

from __future__ import annotations

import inspect

from tests.cases.table import layer, normal, twin

CASES = [
    layer("BatchNorm2d", normal((4, 3, 2, 5)), normal((2, 3, 1, 1)), args=(3,)),
    layer("BatchNorm2d", normal((4, 3, 2, 5)), label="eval", args=(3,), training=False, empty=normal((0, 3, 2, 5))),
    *(
        [layer("BatchNorm2d", normal((4, 3, 2, 5)), label="no bias", args=(3,), bias=False)]
        if "bias" in inspect.signature(twin.BatchNorm2d).parameters  # since PyTorch 2.13
        else []
    ),
    layer("BatchNorm2d", normal((4, 3, 2, 5)), label="not affine", args=(3,), affine=False, momentum=None),
    layer("BatchNorm2d", normal((4, 3, 2, 5)), label="untracked", args=(3,), track_running_stats=False, training=False),
    layer("LayerNorm", normal((5, 4)), normal((4,)), normal((2, 3, 4)), args=(4,), empty=normal((0, 4))),
    layer("LayerNorm", normal((2, 3, 4)), normal((3, 4)), label="two dims", args=((3, 4),), bias=False),
    layer("LayerNorm", normal((2, 5)), label="not affine", args=([5], 0.1), elementwise_affine=False),
]

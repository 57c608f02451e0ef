"""Rows of the table: normalization."""

from __future__ import annotations

import inspect
from typing import Any

import torch
import torch.nn.functional as F

from modgrad.nn.operators.normalization import normalize
from tests.cases.table import Case, Function, TorchFunction, layer, normal, twin

FLOAT = (torch.float32,)  # where PyTorch rounds to bfloat16 in other places, or has no kernel: see test_normalization
NO_BIAS = "bias" in inspect.signature(twin.BatchNorm2d).parameters  # since PyTorch 2.13
BATCH = [((4, 3), (4, 3, 5), (2, 3, 1)), ((4, 3, 2, 5), (2, 3, 1, 1)), ((2, 3, 2, 1, 3), (2, 3, 1, 1, 1))]
INSTANCE = [((2, 3, 4), (3, 4)), ((2, 3, 2, 5), (3, 2, 5)), ((2, 3, 2, 1, 3), (3, 2, 1, 3))]


def _batch(dims: int) -> list[Case]:
    name, inputs = f"BatchNorm{dims}d", list(map(normal, BATCH[dims - 1]))
    main = BATCH[dims - 1][0]
    return [
        layer(name, *inputs, args=(3,), empty=normal((0, *main[1:]))),
        layer(name, *inputs, label="eval", args=(3,), training=False, empty=normal((0, *main[1:]))),
        layer(name, *inputs, label="not affine", args=(3,), affine=False, momentum=None),
    ]


def _instance(dims: int) -> list[Case]:
    name, inputs = f"InstanceNorm{dims}d", list(map(normal, INSTANCE[dims - 1]))
    empty, affine = normal((0, *INSTANCE[dims - 1][0][1:])), {"affine": True, "track_running_stats": True}
    return [
        layer(name, *inputs, args=(3,), affine=True),  # PyTorch's has no empty batch with weights
        layer(name, *inputs, label="not affine", args=(3,), empty=empty),
        layer(name, *inputs, label="tracked", args=(3,), **affine),
        layer(name, *inputs, label="eval", args=(3,), training=False, dtypes=FLOAT, **affine),
    ]


def _normalize(label: str, *args: Any) -> Case:
    return Case(
        f"normalize-{label}",
        lambda: Function(lambda x: normalize(x, *args)),
        lambda: TorchFunction(lambda x: F.normalize(x, *args)),
        [normal((4, 3)), normal((2, 3, 2))],
        ("Normalize",),
        empty=normal((0, 3)),
        dtypes=FLOAT,
    )


CASES = [
    *_batch(2),  # first, as the graph's cases are of it
    layer("BatchNorm2d", normal((4, 3, 2, 5)), label="untracked", args=(3,), track_running_stats=False, training=False),
    *([layer("BatchNorm2d", normal((4, 3, 2, 5)), label="no bias", args=(3,), bias=False)] if NO_BIAS else []),
    *_batch(1),
    *_batch(3),
    layer("SyncBatchNorm", normal((4, 3)), normal((2, 3, 2, 1, 2)), args=(3,)),
    *_instance(1),
    *_instance(2),
    *_instance(3),
    layer("GroupNorm", normal((2, 6, 3)), normal((3, 6)), normal((2, 6, 2, 3)), args=(2, 6), empty=normal((0, 6, 3))),
    layer("GroupNorm", normal((2, 4, 3)), label="not affine", args=(4, 4, 0.1), affine=False),
    *([layer("GroupNorm", normal((2, 4, 3)), label="no bias", args=(1, 4), bias=False)] if NO_BIAS else []),
    layer("LayerNorm", normal((5, 4)), normal((4,)), normal((2, 3, 4)), args=(4,), empty=normal((0, 4))),
    layer("LayerNorm", normal((2, 3, 4)), normal((3, 4)), label="two dims", args=((3, 4),), bias=False),
    layer("LayerNorm", normal((2, 5)), label="not affine", args=([5], 0.1), elementwise_affine=False),
    layer("RMSNorm", normal((5, 4)), normal((4,)), normal((2, 3, 4)), args=(4,), empty=normal((0, 4))),
    layer("RMSNorm", normal((2, 3, 4)), normal((3, 4)), label="two dims", args=((3, 4), 0.1)),
    layer("RMSNorm", normal((2, 5)), label="not affine", args=([5],), elementwise_affine=False),
    layer(
        *("LocalResponseNorm", normal((2, 5, 3)), normal((2, 7, 2, 3))),
        **{"args": (3, 0.5, 0.75, 1.5), "empty": normal((0, 5, 3)), "dtypes": FLOAT},
    ),
    layer("LocalResponseNorm", normal((2, 3, 2, 1, 2)), label="even", args=(4, 1.0, 1.3), dtypes=FLOAT),
    _normalize("2", 2.0, 1),
    _normalize("1", 1.0, 0),
    _normalize("1.5", 1.5, -1, 3.0),  # where eps is the larger for some
    _normalize("0.5", 0.5, (0, 1)),
    _normalize("largest", float("inf")),
]

"""Rows of the table: dropout."""

from __future__ import annotations

from tests.cases.table import layer, normal

SHAPES = {
    "Dropout": [(5, 4), (), (2, 3, 4)],
    "Dropout1d": [(5, 4, 3), (5, 4)],
    "Dropout2d": [(3, 4, 2, 3)],
    "Dropout3d": [(3, 4, 2, 3, 2), (4, 2, 3, 2)],
    "AlphaDropout": [(5, 4), (), (2, 3, 4)],
    "FeatureAlphaDropout": [(5, 4, 3), (5, 4), (3, 4, 2, 3)],
}

CASES = [
    layer(name, *inputs, label=label, args=args, empty=normal((0, *shapes[0][1:])))
    for name, shapes in SHAPES.items()
    for inputs in [[normal(shape) for shape in shapes]]
    for label, args in (("", ()), ("rare", (0.1,)), ("all", (1.0,)))
]

"""Rows of the table: padding."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from tests.cases.table import Case, layer, normal, operator

SIZES = 4, 5, 3  # of the dimensions that are padded, in their order
KINDS: dict[str, tuple[Any, ...]] = {
    "Constant": (1.5,),
    "Zero": (),
    "Reflection": (),
    "Replication": (),
    "Circular": (),
}
UNEVEN = (1, 2, 0, 1, 2, 1)  # left, right, top, ...
CROPPED = (-1, 2, 1, -1, -1, -1)


def _rows() -> list[Case]:
    rows = []
    for kind, args in KINDS.items():
        for directions in (1, 2, 3):
            size, name = SIZES[-directions:], f"{kind}Pad{directions}d"
            inputs = [normal((2, 2, *size)), normal((3, *size))]
            of_all = {"label": "one number", "args": (1, *args), "empty": normal((0, 2, *size)), "saves": False}
            rows.append(layer(name, *inputs, **of_all))
            for label, padding in (("uneven", UNEVEN), ("cropped", CROPPED)):
                arguments = (padding[: 2 * directions], *args)
                rows.append(layer(name, *inputs, label=label, args=arguments, saves=False))
        rows.append(layer(f"{kind}Pad1d", normal((2, 4)), label="none", args=(0, *args), saves=False))
    return rows


CASES = [
    *_rows(),
    *(
        operator(f"pad {padding} {mode}", lambda x, p=padding, m=mode: F.pad(x, p, m), normal(shape), **pad)
        for pad in [{"uses": "Pad", "saves": False}]
        for mode, padding, shape in [
            ("constant", (1, 2, -1, 1), (2, 3, 4)),
            ("constant", (), (2, 3)),
            ("constant", (-1, -1), (5,)),
            ("reflect", (3, 2), (2, 4)),
            ("reflect", (-1, 3), (2, 4)),
            ("reflect", (-5, 3), (1, 2, 4)),
            ("replicate", (7, -2), (2, 4)),
            ("replicate", (1, 1, 2, 0), (1, 2, 1, 1)),
            ("circular", (4, 4), (2, 4)),
            ("circular", (-1, 3), (2, 4)),
            ("circular", (2, 1, 3, 0), (1, 2, 3, 3)),
        ]
    ),
    operator("pad with a value", lambda x: F.pad(x, (1, 0), value=-2.0), normal((2, 3)), uses="Pad", saves=False),
    operator("constant_pad_nd", lambda x: torch.constant_pad_nd(x, (0, 1)), normal((2, 3)), uses="Pad", saves=False),
]

"""Rows of the table: pooling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from modgrad import nn
from tests.cases.table import Case, Inputs, distinct, layer, normal, positive

FLOAT = (torch.float32,)  # where PyTorch has no bfloat16 on the CPU, or rounds to it in other places

# of one to three dimensions: an input, without a batch, and a larger one
SHAPES = [
    ((2, 3, 6), (3, 6), (2, 3, 11)),
    ((2, 3, 6, 5), (3, 6, 5), (2, 3, 7, 8)),
    ((2, 2, 4, 5, 4), (2, 4, 5, 4), (2, 2, 5, 6, 7)),
]


def _of(dims: int, *all_three: Any) -> tuple[Any, ...]:
    """As many of the given sizes as there are dimensions."""
    return tuple(all_three[:dims])


def _max_pool(dims: int) -> list[Case]:
    name, (batch, single, larger) = f"MaxPool{dims}d", SHAPES[dims - 1]
    uneven = {"stride": _of(dims, 2, 1, 3), "padding": _of(dims, 1, 0, 1)}
    return [
        layer(name, distinct(batch), distinct(single), args=(2,), empty=distinct((0, *batch[1:]))),
        layer(name, distinct(larger), label="overlapping", args=(_of(dims, 3, 2, 2),), **uneven),
        layer(name, distinct(larger), label="dilated", args=(2, 3), dilation=2, ceil_mode=True),
        layer(name, distinct(batch), label="indices", args=(2,), return_indices=True),
    ]


class Unpool(torch.nn.Module):
    """PyTorch's, which would not run where only deterministic kernels may: of places that differ it is one."""

    def __init__(self, unpool: torch.nn.Module) -> None:
        super().__init__()
        self.unpool = unpool

    def forward(self, *inputs: Any) -> Any:
        before = torch.are_deterministic_algorithms_enabled()
        torch.use_deterministic_algorithms(False)
        try:
            return self.unpool(*inputs)
        finally:
            torch.use_deterministic_algorithms(before)


def _unpool(dims: int) -> list[Case]:
    name, batch = f"MaxUnpool{dims}d", (2, 3, 6, 4, 2)[: dims + 2]

    def pooled(shape: tuple[int, ...]) -> Callable[[], Inputs]:
        pool: Any = getattr(torch.nn.functional, f"max_pool{dims}d")

        def make() -> Inputs:
            output, indices = pool(torch.randn(shape, dtype=torch.float64), 2, return_indices=True)
            return torch.randn_like(output), indices

        return make

    return [
        Case(
            *(name, lambda: getattr(nn, name)(2), lambda: Unpool(getattr(torch.nn, name)(2))),
            *([pooled(batch), pooled(batch[1:])], (name,)),
            empty=pooled((0, *batch[1:])),
        )
    ]


def _avg_pool(dims: int) -> list[Case]:
    name, (batch, single, larger) = f"AvgPool{dims}d", SHAPES[dims - 1]
    padded: dict[str, Any] = {"stride": _of(dims, 2, 1, 3), "padding": _of(dims, 1, 0, 1), "ceil_mode": True}
    kernel_size = _of(dims, 3, 2, 2)
    dtypes = (torch.float32, torch.bfloat16) if dims < 3 else FLOAT
    cases = [
        layer(
            name, normal(batch), normal(single), args=(2,), empty=normal((0, *batch[1:])), saves=False, dtypes=dtypes
        ),
        layer(name, normal(larger), label="padded", args=(kernel_size,), saves=False, dtypes=dtypes, **padded),
        layer(
            *(name, normal(larger)),
            **{"label": "padding left out", "args": (kernel_size,), "count_include_pad": False, **padded},
            **{"saves": False, "dtypes": dtypes},
        ),
    ]
    if dims > 1:
        divided = {"label": "divisor", "args": (kernel_size,), "divisor_override": 5, **padded}
        cases.append(layer(name, normal(larger), saves=False, dtypes=dtypes, **divided))
    return cases


def _adaptive(dims: int) -> list[Case]:
    average, largest, (batch, single, larger) = f"AdaptiveAvgPool{dims}d", f"AdaptiveMaxPool{dims}d", SHAPES[dims - 1]
    uneven, more = _of(dims, 3, None if dims > 1 else 3, 2), _of(dims, 7, 8, 9)
    size = uneven if dims > 1 else uneven[0]
    return [
        layer(average, normal(batch), normal(single), args=(1,), saves=False),
        layer(average, normal(larger), label="uneven", args=(size,), saves=False),
        layer(average, normal(batch), label="larger", args=(more,), saves=False),
        layer(largest, distinct(batch), distinct(single), args=(1,)),
        layer(largest, distinct(larger), label="uneven", args=(size,)),
        layer(largest, distinct(batch), label="larger", args=(more if dims > 1 else more[0],)),
        layer(largest, distinct(larger), label="indices", args=(2,), return_indices=True),
    ]


def _power(dims: int) -> list[Case]:
    name, (batch, single, larger) = f"LPPool{dims}d", SHAPES[dims - 1]
    uses: dict[str, Any] = {"uses": ("PowerPool",), "dtypes": FLOAT}
    return [
        layer(name, normal(batch), normal(single), args=(2, 2), **uses),
        layer(name, positive(larger), label="cubes", args=(3.0, 3, 2, True), **uses),
        layer(name, positive(larger), label="roots", args=(0.5, 2), **uses),
        layer(name, distinct(larger), label="largest", args=(float("inf"), 2), uses=(f"MaxPool{dims}d",), smooth=False),
        layer(
            name,
            distinct(larger),
            label="smallest",
            args=(-float("inf"), 2, 1),
            uses=(f"MaxPool{dims}d",),
            smooth=False,
        ),
    ]


def _fractional(dims: int) -> list[Case]:
    name, (batch, single, larger) = f"FractionalMaxPool{dims}d", SHAPES[dims - 1]
    return [
        layer(name, distinct(batch), distinct(single), args=(2,), output_size=2, dtypes=FLOAT),
        layer(
            *(name, distinct(larger)),
            **{"label": "ratio", "args": (_of(dims, 2, 3, 2),), "output_ratio": _of(dims, 0.5, 0.6, 0.5)},
            **{"return_indices": True, "dtypes": FLOAT},
        ),
    ]


CASES = [
    *_max_pool(2),  # first, as the graph's cases are of it
    *(case for dims in (1, 3) for case in _max_pool(dims)),
    *(case for dims in (1, 2, 3) for case in _unpool(dims)),
    *(case for dims in (1, 2, 3) for case in _avg_pool(dims)),
    *(case for dims in (1, 2, 3) for case in _adaptive(dims)),
    *(case for dims in (1, 2, 3) for case in _power(dims)),
    *(case for dims in (2, 3) for case in _fractional(dims)),
]

from __future__ import annotations

from typing import Any

import torch

from modgrad import functional
from tests.functional.arguments.make import Arguments, normal

SHAPES: list[tuple[int, ...]] = [(2, 3, 11), (2, 3, 7, 8), (3, 7, 8), (2, 2, 5, 6, 7)]
SMALLER = {1: (4,), 2: (3, 4), 3: (2, 3, 3)}
LARGER = {1: (13,), 2: (9, 9), 3: (7, 7, 8)}


def _dims(shape: tuple[int, ...]) -> int:
    return len(shape) - 2 if len(shape) > 3 or shape[-1] == 11 else 2


def _max_pool_backward() -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for shape in SHAPES:
        dims = _dims(shape)
        windows = (3, 2, 2)[:dims], (2, 1, 2)[:dims], (1, 0, 1)[:dims], (1, 2, 1)[:dims], True
        output, indices = functional.max_pool(normal(*shape), *windows)
        grad = torch.randn_like(output)
        rows += [(grad, kind, torch.Size(shape), *windows) for kind in (indices, indices.to(torch.int16))]
        last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(len(shape))
        if last is not None:
            rows.append((grad, indices.contiguous(memory_format=last), torch.Size(shape), *windows))
    return rows


def _avg_pool_backward() -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for shape in SHAPES:
        dims = _dims(shape)
        for ceil_mode, include, divisor in [
            (False, True, None),
            (True, True, None),
            (True, False, None),
            (True, True, 5),
        ]:
            windows = (3, 2, 2)[:dims], (2, 1, 3)[:dims], (1, 0, 1)[:dims], ceil_mode, include, divisor
            grad = torch.randn_like(functional.avg_pool(normal(*shape), *windows))
            rows.append((grad, torch.Size(shape), *windows))
    return rows


def _adaptive_avg_pool_backward() -> list[tuple[Any, ...]]:
    return [
        (normal(*shape[: -_dims(shape)], *size), torch.Size(shape), _dims(shape))
        for shape in SHAPES
        for size in (SMALLER[_dims(shape)], LARGER[_dims(shape)])
    ]


def _adaptive() -> list[tuple[Any, ...]]:
    return [(normal(*s), size[_dims(s)]) for s in SHAPES for size in (SMALLER, LARGER)]


def _adaptive_max_pool_backward() -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for input, size in _adaptive():
        output, indices = functional.adaptive_max_pool(input, size)
        rows.append((torch.randn_like(output), indices, input.shape, len(size)))
    return rows


def _fractional() -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for shape in SHAPES[1:]:
        dims = _dims(shape)
        batch = shape[0] if len(shape) == dims + 2 else 1
        for windows in (SMALLER[dims], (1,) * dims):
            samples = torch.rand(batch, shape[-dims - 1], dims, dtype=torch.float64)
            rows.append((normal(*shape), (2, 3, 2)[:dims], windows, samples))
    return rows


def _fractional_backward() -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for input, kernel_size, size, samples in _fractional():
        output, indices = functional.fractional_max_pool(input, kernel_size, size, samples)
        rows.append((torch.randn_like(output), indices, input.shape, kernel_size, size))
    return rows


ARGUMENTS: Arguments = {
    "adaptive_avg_pool": _adaptive,
    "adaptive_avg_pool_backward": _adaptive_avg_pool_backward,
    "adaptive_max_pool": _adaptive,
    "adaptive_max_pool_backward": _adaptive_max_pool_backward,
    "avg_pool_backward": _avg_pool_backward,
    "fractional_max_pool": _fractional,
    "fractional_max_pool_backward": _fractional_backward,
    "max_pool_backward": _max_pool_backward,
}

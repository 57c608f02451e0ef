"""Pooling."""

from __future__ import annotations

from typing import Any

import torch

from modgrad.export.onnx.graph import Value
from modgrad.export.onnx.lowering.table import Operation, count, is_fixed, lowers, rank

aten: Any = torch.ops.aten


def _each(numbers: Any, dims: int, default: list[int] | None = None) -> list[int]:
    numbers = [numbers] if isinstance(numbers, int) else list(numbers or [])
    if not numbers:
        assert default is not None
        return default
    return numbers * dims if len(numbers) == 1 else numbers


def _ends(on: Operation, x: Value, kernel: list[int], stride: list[int], padding: list[int], step: list[int]) -> Any:
    """The padding at the far end that gives as many windows as PyTorch has, so that none has to be rounded."""
    dims = len(kernel)
    return [
        (out - 1) * s + d * (k - 1) + 1 - size - p
        for out, size, k, s, p, d in zip(
            on.shape[-dims:], (x.shape or ())[-dims:], kernel, stride, padding, step, strict=True
        )
    ]


@lowers(aten.max_pool2d_with_indices.default, aten.max_pool3d_with_indices.default)
def max_pool(
    on: Operation,
    x: Value,
    kernel_size: Any,
    stride: Any = (),
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> tuple[Value | None, Value | None]:
    """ONNX counts places over all samples and channels, PyTorch over each channel by itself."""
    dims = 2 if on.node.target is aten.max_pool2d_with_indices.default else 3
    kernel = _each(kernel_size, dims)
    strides, before = _each(stride, dims, kernel), _each(padding, dims)
    dilations = _each(dilation, dims)
    after = [max(a, 0) for a in _ends(on, x, kernel, strides, before, dilations)]
    batched = rank(x) == dims + 2
    sizes = list((x.shape or ())[-dims:])
    if not batched:
        x = on.unsqueeze(x, 0)
    apart = any(p >= k for p, k in zip((*before, *after), (*kernel, *kernel), strict=True))
    if apart:  # which onnxruntime's pooling takes no padding of
        lowest = on.constant(float("-inf"), x.dtype)
        x = on.op("Pad", x, on.ints(0, 0, *before, 0, 0, *after), lowest)
    options: dict[str, Any] = {
        "kernel_shape": kernel,
        "strides": strides,
        "pads": [0] * (2 * dims) if apart else [*before, *after],
        "dilations": dilations,
    }
    places: Value | None = None
    if not on.used(1):
        values = on.op("MaxPool", x, **options)
    elif (
        dims == max(kernel) == 2
        and max(dilations) == 1
        and not any(before)
        and _disjoint(sizes, on.shape[-2:], kernel, strides, dilations)
    ):
        values, places = _compared(on, x, kernel, strides)
        on.graph.places[places.name] = on.op("Add", places, _channels(on, x))
    else:
        outer = [low + n + high for low, n, high in zip(before, sizes, after, strict=True)] if apart else sizes
        values, over_all = on.op("MaxPool", x, outputs=2, dtypes=[torch.int64], **options)
        places = on.op("Mod", over_all, on.sizes.scalar(count(outer)))
        if apart:
            places = _without(on, places, outer, sizes, before)
        else:
            on.graph.places[places.name] = over_all
    if places is not None:
        on.graph.mark_nonnegative(places)
    if not batched:
        values, places = (None if y is None else on.op("Squeeze", y, on.ints(0)) for y in (values, places))
    return values, places


def _compared(on: Operation, x: Value, kernel: list[int], strides: list[int]) -> tuple[Value, Value]:
    """The largest of each window of at most two by two places, and its place: in the upper row if that has it, and so
    on. onnxruntime pools four times in a twentieth of the time that it takes to pool with places."""
    (height, width), windows = kernel, [int(n) for n in on.shape[-2:]]
    sizes = [int(n) for n in (x.shape or ())[-2:]]
    ends = [(n - 1) * s for n, s in zip(windows, strides, strict=True)]
    if any(size > end + s for size, end, s in zip(sizes, ends, strides, strict=True)):  # windows of one would be more
        x = on.op(
            "Slice", x, on.ints(0, 0), on.ints(*(e + k for e, k in zip(ends, kernel, strict=True))), on.ints(2, 3)
        )

    def pooled(*size: int) -> Value:
        return on.op("MaxPool", x, kernel_shape=list(size), strides=strides)

    def found_in(*size: int) -> Value:
        return on.op("Equal", values, pooled(*size), dtype=torch.bool)

    values = pooled(height, width)
    nearer = []  # than the last place of its window
    if height == 2:
        upper = found_in(1, width)
        line = on.constant(float(sizes[1]), torch.float32)
        nearer.append(on.op("Mul", on.cast(upper, torch.float32), line))
    if width == 2:
        left = found_in(height, 1)
        if height == 2:
            left = on.op("Or", found_in(1, 1), on.op("And", on.op("Not", upper), left))
        nearer.append(on.cast(left, torch.float32))
    less = nearer[0] if len(nearer) == 1 else on.op("Add", *nearer)
    rows, columns = (torch.arange(n) * s + k - 1 for n, s, k in zip(windows, strides, kernel, strict=True))
    last = on.constant(rows[:, None] * sizes[1] + columns)
    return values, on.op("Sub", last, on.cast(less, torch.int64))


def _channels(on: Operation, x: Value) -> Value:
    """Where each channel of each sample begins, (N, C, 1, 1)."""
    n, channels, *sizes = x.shape or ()
    numbers = on.op("Range", *(on.value(i, torch.int64) for i in (0, n * channels, 1)))
    return on.reshape(on.op("Mul", numbers, on.sizes.scalar(count(sizes))), (n, channels, 1, 1))


def _without(on: Operation, places: Value, outer: list[Any], sizes: list[Any], before: list[int]) -> Value:
    """Places in a padded channel, as places in the channel."""
    total, factor = on.constant(0, torch.int64), 1
    for outside, size, low in zip(reversed(outer), reversed(sizes), reversed(before), strict=True):
        wide = on.sizes.scalar(outside)
        own = on.op("Sub", on.op("Mod", places, wide), on.constant(low, torch.int64))
        places = on.op("Div", places, wide)
        total = on.op("Add", total, on.op("Mul", own, on.sizes.scalar(factor)))
        factor = factor * size
    return total


@lowers(aten.max_pool2d_with_indices_backward.default, aten.max_pool3d_with_indices_backward.default)
def max_pool_backward(
    on: Operation,
    grad: Value,
    x: Value,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    places: Value,
) -> Value:
    """Each window's gradient at the place of its largest value. Where no place is in two windows it is put there, in a
    twentieth of the time that onnxruntime takes to add."""
    dims = 2 if on.node.target is aten.max_pool2d_with_indices_backward.default else 3
    kernel = _each(kernel_size, dims)
    strides, before = _each(stride, dims, kernel), _each(padding, dims)
    leading, sizes, windows = on.shape[:-dims], on.shape[-dims:], (grad.shape or ())[-dims:]
    over_all = on.graph.places.get(places.name)
    if (
        over_all is not None
        and on.dtype is torch.float32  # the only one that onnxruntime has it for
        and not any(before)
        and _disjoint(sizes, windows, kernel, strides, _each(dilation, dims))
    ):
        return on.op("MaxUnpool", grad, over_all, on.vector(on.shape), kernel_shape=kernel, strides=strides)
    flat = (*leading, count(sizes))
    nothing = on.expand(on.constant(0, on.dtype), flat)
    where, what = (on.reshape(x, (*leading, count(windows))) for x in (places, grad))
    added = on.op("ScatterElements", nothing, where, what, axis=len(leading), reduction="add", shape=flat)
    return on.reshape(added, on.shape)


def _disjoint(sizes: Any, windows: Any, kernel: list[int], strides: list[int], dilations: list[int]) -> bool:
    """Whether no place is in two windows, and all of them lie within the input."""
    if not all(map(is_fixed, (*sizes, *windows))):
        return False
    reach = [d * (k - 1) for k, d in zip(kernel, dilations, strict=True)]
    within = [(n - 1) * s + r < size for n, s, r, size in zip(windows, strides, reach, sizes, strict=True)]
    return all(within) and all(r < s for r, s in zip(reach, strides, strict=True))


@lowers(aten.avg_pool1d.default, aten.avg_pool2d.default, aten.avg_pool3d.default)
def avg_pool(
    on: Operation,
    x: Value,
    kernel_size: Any,
    stride: Any = (),
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Value:
    """The mean over all places of each window, those outside being zeros, times their number over PyTorch's divisor."""
    dims = {aten.avg_pool1d.default: 1, aten.avg_pool2d.default: 2, aten.avg_pool3d.default: 3}[on.node.target]
    kernel = _each(kernel_size, dims)
    strides, before = _each(stride, dims, kernel), _each(padding, dims)
    after = [max(a, 0) for a in _ends(on, x, kernel, strides, before, [1] * dims)]
    batched = rank(x) == dims + 2
    sizes = [int(s) for s in (x.shape or ())[-dims:]]
    if not batched:
        x = on.unsqueeze(x, 0)
    found = on.op("AveragePool", x, kernel_shape=kernel, strides=strides, pads=[*before, *after], count_include_pad=1)
    factor = _factor(sizes, list(on.shape[-dims:]), kernel, strides, before, count_include_pad, divisor_override)
    if not bool((factor == 1).all()):
        found = on.op("Mul", found, on.constant(factor, on.dtype))
    return found if batched else on.op("Squeeze", found, on.ints(0))


def _factor(
    sizes: list[int],
    outputs: list[int],
    kernel: list[int],
    strides: list[int],
    padding: list[int],
    include: bool,
    override: int | None,
) -> torch.Tensor:
    """The number of places of a window, over what its sum is divided by."""
    places = torch.ones((), dtype=torch.float64)
    for size, out, k, s, p in zip(sizes, outputs, kernel, strides, padding, strict=True):
        start = torch.arange(int(out)) * s - p
        end = torch.minimum(start + k, torch.tensor(size + p))
        counted = end - start if include else end.clamp(max=size) - start.clamp(min=0)
        places = places[..., None] * counted.to(torch.float64)
    whole = 1
    for k in kernel:
        whole *= k
    divisor = places if override is None else torch.full_like(places, override)
    return whole / divisor

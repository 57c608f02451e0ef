"""Batches to try a program on, made of one that it was given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from modgrad.export.onnx.errors import ExportError

Sizes = tuple[int, int]  # the smallest and the largest batch; the first above the second: only the one that was given
NO_END = 2**62


def size_of(batch: Any) -> int | None:
    """How many samples a batch has."""
    return next((x.shape[0] for x in pytree.tree_leaves(batch) if x.dim()), None)


def in_rows(tensor: Tensor) -> Tensor:
    """The tensor as a client has it: in rows, with the strides that go with that even where a size is 1.

    There they mean nothing for the values, but PyTorch takes an image of one channel for channels_last by them, and a
    compiled program relies on what it took it for.
    """
    strides, stride = [], 1
    for size in reversed(tensor.shape):
        if not isinstance(size, int):
            return tensor.contiguous()
        strides.append(stride)
        stride *= max(size, 1)
    if tensor.stride() == tuple(reversed(strides)):
        return tensor
    return tensor.clone(memory_format=torch.contiguous_format)


def resized(batch: Any, size: int) -> Any:
    """The batch with as many samples, taken over and over."""

    def taken(x: Any) -> Any:
        if not isinstance(x, Tensor) or not x.dim():
            return x
        return in_rows(x[torch.arange(size, device=x.device) % x.shape[0]])

    return pytree.tree_map(taken, batch)


def frugal(batch: Any) -> Any:
    """A batch that leaves much untouched: inputs of zeros, and of the numbers that choose, only the first sample's.

    What weighs the inputs then has a gradient of exactly zero, and so has a row of an embedding that is not chosen.
    """

    def less(x: Any) -> Any:
        if not isinstance(x, Tensor):
            return x
        if x.is_floating_point() or x.is_complex():
            return torch.zeros_like(x)
        return x[:1].expand_as(x).clone() if x.dim() else x

    *inputs, target = batch
    return (*pytree.tree_map(less, tuple(inputs)), target)


def tried(sizes: Sizes, batch: Any, holds: Callable[[int], None]) -> Sizes:
    """The batch sizes of a program, after it has been held at another one; and at 1, which the exporter leaves open."""
    low, high = sizes
    given = size_of(batch)
    if low > high or given is None:
        return (given, given) if given is not None else (1, NO_END)
    try:
        holds(given + 1 if given < high else given - 1)
    except ExportError:
        raise
    except Exception:  # a size that the step itself refuses, as an odd one
        pass
    if low == 2:
        try:
            holds(1)
            low = 1
        except Exception:  # as batch norm refuses it, or the program is wrong for it
            pass
    return low, high


def told(sizes: Sizes) -> list[int | None]:
    """For the manifest: None where there is no largest."""
    return [sizes[0], sizes[1] if sizes[1] < NO_END else None]

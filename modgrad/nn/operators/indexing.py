"""Operators that take values of Variables by index, and that put them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from modgrad import functional
from modgrad.graph import Primitive
from modgrad.graph.call import is_variable
from modgrad.graph.dispatch import on_plain_values, operator
from modgrad.nn.operators.base import Formula, dim_of

_T: Any = Tensor


class Select(Primitive):
    """x[index], for any index that a tensor takes."""

    def forward(self, call: Any, input: Tensor, index: Any) -> Tensor:
        call.shape = input.shape
        tensors = [part for part in (index if isinstance(index, tuple) else (index,)) if isinstance(part, Tensor)]
        call.index = index
        call.save(*tensors)  # so that a change of an index tensor in between is found
        return functional.select(input, index)

    def backward(self, call: Any, grad: Tensor) -> tuple[Tensor, None]:
        return functional.select_backward(grad, call.shape, call.index), None


class Gather(Formula, function=functional.gather):
    """Values along a dimension by index."""


class IndexSelect(Formula, function=functional.index_select):
    """Slices of a dimension by index."""


class Take(Formula, function=functional.take):
    """Values by their place in memory."""


class Scatter(Formula, function=functional.scatter):
    """Values put along a dimension by index."""


class ScatterAdd(Formula, function=functional.scatter_add):
    """Values added along a dimension by index."""


class ScatterReduce(Formula, function=functional.scatter_reduce):
    """Values reduced along a dimension by index."""


class IndexAdd(Formula, function=functional.index_add):
    """Slices added to those that an index names."""


class IndexCopy(Formula, function=functional.index_copy):
    """Slices put where an index says."""


class IndexFill(Formula, function=functional.index_fill):
    """One value in the slices that an index names."""


class IndexPut(Formula, function=functional.index_put):
    """Values put or added where index tensors say."""


class SelectScatter(Formula, function=functional.select_scatter):
    """One slice put."""


class SliceScatter(Formula, function=functional.slice_scatter):
    """Every n-th slice put."""


class DiagonalScatter(Formula, function=functional.diagonal_scatter):
    """A diagonal put."""


_SELECT, _GATHER, _INDEX_SELECT, _TAKE = Select(), Gather(), IndexSelect(), Take()
_SCATTER, _SCATTER_ADD, _SCATTER_REDUCE = Scatter(), ScatterAdd(), ScatterReduce()
_INDEX_ADD, _INDEX_COPY, _INDEX_FILL, _INDEX_PUT = IndexAdd(), IndexCopy(), IndexFill(), IndexPut()
_SELECT_SCATTER, _SLICE_SCATTER, _DIAGONAL_SCATTER = SelectScatter(), SliceScatter(), DiagonalScatter()


@operator(_T.__getitem__)
def _select(input: Any, index: Any) -> Any:
    parts = index if isinstance(index, tuple) else (index,)
    if any(is_variable(part) for part in parts):
        raise TypeError("a Variable was used as an index: an index has no gradient, write .detach().long()")
    return _SELECT(input, index)


@operator(torch.select, _T.select)
def _select_one(input: Any, dim: int, index: int) -> Any:
    return _SELECT(input, (slice(None),) * dim_of(input, dim) + (index,))


@operator(torch.narrow, _T.narrow)
def _narrow(input: Any, dim: int, start: int, length: int) -> Any:
    place = dim_of(input, dim)
    start = start + input.shape[place] if start < 0 else start
    return _SELECT(input, (slice(None),) * place + (slice(start, start + length),))


@operator(torch.masked_select, _T.masked_select)
def _masked_select(input: Any, mask: Tensor) -> Any:
    shape = torch.broadcast_shapes(input.shape, mask.shape)
    return _SELECT(input.expand(shape) if input.shape != shape else input, mask.expand(shape))


@operator(torch.gather, _T.gather)
def _gather(input: Any, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Any:
    if sparse_grad:
        raise RuntimeError("gather(sparse_grad=True): gradients are dense here, leave it out")
    return _GATHER(input, dim_of(input, dim), index)


@operator(torch.index_select, _T.index_select)
def _index_select(input: Any, dim: int, index: Tensor) -> Any:
    return _INDEX_SELECT(input, dim_of(input, dim), index)


@operator(torch.take, _T.take)
def _take(input: Any, index: Tensor) -> Any:
    return _TAKE(input, index)


@operator(torch.take_along_dim, _T.take_along_dim)
def _take_along_dim(input: Any, indices: Tensor, dim: int | None = None) -> Any:
    if dim is None:
        return _GATHER(input.reshape(-1), 0, indices.reshape(-1))
    place = dim_of(input, dim)
    if input.dim() != indices.dim():
        raise ValueError(
            f"take_along_dim: input of shape {tuple(input.shape)} and indices of shape {tuple(indices.shape)} must "
            "have as many dimensions"
        )
    shapes = [(*x.shape[:place], 1, *x.shape[place + 1 :]) for x in (input, indices)]
    shape = torch.broadcast_shapes(*shapes)
    input, indices = (x.expand(*shape[:place], x.shape[place], *shape[place + 1 :]) for x in (input, indices))
    indices = torch.where(indices < 0, indices + input.shape[place], indices)  # -1 is the last
    return _GATHER(input, place, indices)


def _as_long(src: Any, index: Tensor) -> Any:
    """The part of `src` that an index reads."""
    if not isinstance(src, Tensor) or src.shape == index.shape:
        return src
    return src[tuple(slice(size) for size in index.shape)]


@operator(torch.scatter, _T.scatter)
def _scatter(input: Any, dim: int, index: Tensor, src: Any = None, *, value: Any = None, reduce: Any = None) -> Any:
    if reduce is not None:
        raise RuntimeError(
            f"scatter(reduce={reduce!r}) has no derivative, in PyTorch neither: write scatter_reduce or scatter_add"
        )
    return _SCATTER(input, dim_of(input, dim), index, _as_long(value if src is None else src, index))


@operator(torch.scatter_add, _T.scatter_add)
def _scatter_add(input: Any, dim: int, index: Tensor, src: Any) -> Any:
    return _SCATTER_ADD(input, dim_of(input, dim), index, _as_long(src, index))


@operator(torch.scatter_reduce, _T.scatter_reduce)
def _scatter_reduce(input: Any, dim: int, index: Tensor, src: Any, reduce: str, *, include_self: bool = True) -> Any:
    place = dim_of(input, dim)
    return _SCATTER_REDUCE(input, place, index, _as_long(src, index), reduce, include_self)


@operator(torch.index_add, _T.index_add)
def _index_add(input: Any, dim: int, index: Tensor, source: Any, *, alpha: float = 1) -> Any:
    return _INDEX_ADD(input, dim_of(input, dim), index, source, alpha)


@operator(torch.index_copy, _T.index_copy)
def _index_copy(input: Any, dim: int, index: Tensor, source: Any) -> Any:
    return _INDEX_COPY(input, dim_of(input, dim), index, source)


@operator(torch.index_fill, _T.index_fill)
def _index_fill(input: Any, dim: int, index: Tensor, value: Any) -> Any:
    return _INDEX_FILL(input, dim_of(input, dim), index, value)


@operator(torch.index_reduce, _T.index_reduce)
def _index_reduce(input: Any, dim: int, index: Tensor, source: Any, reduce: str, *, include_self: bool = True) -> Any:
    place = dim_of(input, dim)
    if input.dim() == 0:
        input, source = input.reshape(1), source.reshape(1)
        return _index_reduce(input, 0, index, source, reduce, include_self=include_self).reshape(())
    everywhere = index.reshape((1,) * place + (-1,) + (1,) * (input.dim() - place - 1)).expand(source.shape)
    return _SCATTER_REDUCE(input, place, everywhere, source, reduce, include_self)


@operator(torch.index_put, _T.index_put)
def _index_put(input: Any, indices: Sequence[Tensor | None], values: Any, accumulate: bool = False) -> Any:
    return _INDEX_PUT(input, tuple(indices), values, accumulate)


@operator(_T.put, torch.put)
def _put(input: Any, index: Tensor, source: Any, accumulate: bool = False) -> Any:
    flat = _INDEX_PUT(input.reshape(-1), (index.reshape(-1),), source.reshape(-1), accumulate)
    return flat.reshape(input.shape)


@operator(torch.masked_scatter, _T.masked_scatter)
def _masked_scatter(input: Any, mask: Tensor, source: Any) -> Any:
    shape = torch.broadcast_shapes(input.shape, mask.shape)
    mask = mask.expand(shape)
    if not source.numel():
        on_plain_values(torch.masked_scatter, (input, mask, source), {})  # raises if the mask asks for a value
        return input.expand(shape)
    which = torch.cumsum(mask.reshape(-1), 0) - 1  # the how-maniest value of source each place takes
    taken = _INDEX_SELECT(source.reshape(-1), 0, which.clamp(min=0)).reshape(shape)
    return torch.where(mask, taken, input)


@operator(torch.select_scatter, _T.select_scatter)
def _select_scatter(input: Any, src: Any, dim: int, index: int) -> Any:
    return _SELECT_SCATTER(input, src, dim_of(input, dim), index)


@operator(torch.slice_scatter, _T.slice_scatter)
def _slice_scatter(
    input: Any, src: Any, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Any:
    return _SLICE_SCATTER(input, src, dim_of(input, dim), start, end, step)


@operator(torch.diagonal_scatter, _T.diagonal_scatter)
def _diagonal_scatter(input: Any, src: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    return _DIAGONAL_SCATTER(input, src, offset, dim_of(input, dim1), dim_of(input, dim2))

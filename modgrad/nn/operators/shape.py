"""Operators that move values, join and cut tensors, copy and convert them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from modgrad import functional
from modgrad.graph import Primitive
from modgrad.graph.call import is_variable
from modgrad.graph.dispatch import operator

_T: Any = Tensor


class Reshape(Primitive):
    """The same values in another shape."""

    def forward(self, call: Any, input: Tensor, shape: Sequence[int]) -> Tensor:
        call.shape = input.shape
        return functional.reshape(input, shape)

    def backward(self, call: Any, grad: Tensor) -> Tensor:
        return functional.reshape_backward(grad, call.shape)


class Permute(Primitive):
    """The dimensions in another order."""

    def forward(self, call: Any, input: Tensor, dims: Sequence[int]) -> Tensor:
        call.dims = [d % input.dim() for d in dims]
        return functional.permute(input, call.dims)

    def backward(self, call: Any, grad: Tensor) -> Tensor:
        return functional.permute_backward(grad, call.dims)


class Expand(Primitive):
    """Repeated along new and one-element dimensions."""

    def forward(self, call: Any, input: Tensor, shape: Sequence[int]) -> Tensor:
        call.shape = input.shape
        return functional.expand(input, tuple(shape))

    def backward(self, call: Any, grad: Tensor) -> Tensor:
        return functional.sum_to_shape(grad, call.shape)


class Cat(Primitive):
    """Tensors one after another along a dimension."""

    def forward(self, call: Any, dim: int, *inputs: Tensor) -> Tensor:
        call.sizes = [x.shape[dim] for x in inputs]
        call.dtypes = [x.dtype for x in inputs]
        call.dim = dim
        return functional.cat(inputs, dim)

    def backward(self, call: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        pieces = functional.cat_backward(grad, call.sizes, call.dim)
        return None, *(piece.to(dtype) for piece, dtype in zip(pieces, call.dtypes, strict=True))


class Stack(Primitive):
    """Tensors of one shape side by side along a new dimension."""

    def forward(self, call: Any, dim: int, *inputs: Tensor) -> Tensor:
        call.dtypes = [x.dtype for x in inputs]
        call.dim = dim
        return functional.stack(inputs, dim)

    def backward(self, call: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        pieces = functional.stack_backward(grad, call.dim)
        return None, *(piece.to(dtype) for piece, dtype in zip(pieces, call.dtypes, strict=True))


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


class Split(Primitive):
    """Pieces of given sizes along a dimension: several outputs of one call."""

    def forward(self, call: Any, input: Tensor, sizes: Sequence[int], dim: int) -> tuple[Tensor, ...]:
        pieces = input.split(list(sizes), dim)
        call.dim, call.forms = dim, [(piece.shape, input.dtype, input.device) for piece in pieces]
        return tuple(pieces)

    def backward(self, call: Any, *grads: Tensor | None) -> Tensor:
        filled = [
            torch.zeros(shape, dtype=dtype, device=device) if grad is None else grad
            for grad, (shape, dtype, device) in zip(grads, call.forms, strict=True)
        ]
        return functional.cat(filled, call.dim)


class Copy(Primitive):
    """The same values in memory of their own, in another dtype or on another device."""

    def forward(self, call: Any, input: Tensor, dtype: torch.dtype | None, device: Any, format: Any) -> Tensor:
        call.dtype, call.device = input.dtype, input.device
        return input.to(dtype=dtype or input.dtype, device=device, copy=True, memory_format=format)

    def backward(self, call: Any, grad: Tensor) -> Tensor:
        return grad.to(dtype=call.dtype, device=call.device)


_RESHAPE, _PERMUTE, _EXPAND, _CAT, _STACK = Reshape(), Permute(), Expand(), Cat(), Stack()
_SELECT, _SPLIT, _COPY = Select(), Split(), Copy()


def _sizes(given: tuple[Any, ...]) -> tuple[int, ...]:
    """Sizes or dimensions given one by one or as one sequence."""
    return tuple(given[0]) if len(given) == 1 and isinstance(given[0], (tuple, list)) else tuple(given)


def _dim(input: Tensor, dim: int, extra: int = 0) -> int:
    """A dimension as a number from 0 up. extra: 1 where it may also name a new last one."""
    count = max(input.dim() + extra, 1)
    if not -count <= dim < count:
        raise IndexError(f"dimension {dim} of a tensor of shape {tuple(input.shape)}: expected {-count} to {count - 1}")
    return dim % count


@operator(_T.reshape, _T.view)
def _reshape(input: Any, *shape: Any) -> Any:
    if len(shape) == 1 and isinstance(shape[0], torch.dtype):
        raise TypeError("view(dtype) of a Variable has no derivative: write .to(dtype), which converts the values")
    return _RESHAPE(input, _sizes(shape))


@operator(torch.reshape)
def _torch_reshape(input: Any, shape: Sequence[int]) -> Any:
    return _RESHAPE(input, tuple(shape))


@operator(_T.view_as, _T.reshape_as)
def _view_as(input: Any, other: Tensor) -> Any:
    return _RESHAPE(input, other.shape)


@operator(torch.flatten, _T.flatten, torch.ravel, _T.ravel)
def _flatten(input: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    shape = tuple(input.shape) or (1,)
    start, end = _dim(input, start_dim), _dim(input, end_dim)
    if start > end:
        raise ValueError(f"flatten(start_dim={start_dim}, end_dim={end_dim}): the start comes after the end")
    return _RESHAPE(input, (*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :]))


@operator(torch.unsqueeze, _T.unsqueeze)
def _unsqueeze(input: Any, dim: int) -> Any:
    place = _dim(input, dim, extra=1)
    return _RESHAPE(input, (*input.shape[:place], 1, *input.shape[place:]))


@operator(torch.squeeze, _T.squeeze)
def _squeeze(input: Any, dim: Any = None) -> Any:
    dims = range(input.dim()) if dim is None else [_dim(input, d) for d in ((dim,) if isinstance(dim, int) else dim)]
    return _RESHAPE(input, tuple(size for d, size in enumerate(input.shape) if not (d in dims and size == 1)))


@operator(_T.permute)
def _permute(input: Any, *dims: Any) -> Any:
    return _torch_permute(input, _sizes(dims))


@operator(torch.permute)
def _torch_permute(input: Any, dims: Sequence[int]) -> Any:
    order = tuple(_dim(input, d) for d in dims)
    if sorted(order) != list(range(input.dim())):
        raise ValueError(f"permute{tuple(dims)} of a tensor of shape {tuple(input.shape)}: name each dimension once")
    return _PERMUTE(input, order)


@operator(torch.transpose, torch.swapaxes, torch.swapdims, _T.transpose, _T.swapaxes, _T.swapdims)
def _transpose(input: Any, dim0: int, dim1: int) -> Any:
    order = list(range(input.dim()))
    a, b = _dim(input, dim0), _dim(input, dim1)
    if order:
        order[a], order[b] = order[b], order[a]
    return _PERMUTE(input, tuple(order))


@operator(torch.t, _T.t, _T.T.__get__)
def _t(input: Any) -> Any:
    if input.dim() > 2:
        raise ValueError(f"t() and .T of a tensor of shape {tuple(input.shape)}: write .mT or .transpose(dim0, dim1)")
    return _PERMUTE(input, tuple(reversed(range(input.dim()))))


@operator(_T.mT.__get__)
def _matrix_transpose(input: Any) -> Any:
    return _transpose(input, -2, -1)


@operator(_T.expand)
def _expand(input: Any, *shape: Any) -> Any:
    return _EXPAND(input, _sizes(shape))


@operator(torch.broadcast_to, _T.broadcast_to)
def _broadcast_to(input: Any, size: Sequence[int]) -> Any:
    return _EXPAND(input, tuple(size))


@operator(_T.expand_as)
def _expand_as(input: Any, other: Tensor) -> Any:
    return _EXPAND(input, tuple(other.shape))


@operator(torch.cat, torch.concat, torch.concatenate)
def _cat(tensors: Sequence[Any], dim: int = 0, *, axis: int | None = None) -> Any:
    along = dim if axis is None else axis
    return _CAT(_dim(tensors[0], along), *tensors)


@operator(torch.stack)
def _stack(tensors: Sequence[Any], dim: int = 0) -> Any:
    return _STACK(_dim(tensors[0], dim, extra=1), *tensors)


@operator(_T.__getitem__)
def _select(input: Any, index: Any) -> Any:
    parts = index if isinstance(index, tuple) else (index,)
    if any(is_variable(part) for part in parts):
        raise TypeError("a Variable was used as an index: an index has no gradient, write .detach().long()")
    return _SELECT(input, index)


@operator(torch.index_select, _T.index_select)
def _index_select(input: Any, dim: int, index: Any) -> Any:
    return _SELECT(input, (slice(None),) * _dim(input, dim) + (index,))


@operator(torch.select, _T.select)
def _select_one(input: Any, dim: int, index: int) -> Any:
    return _SELECT(input, (slice(None),) * _dim(input, dim) + (index,))


@operator(torch.narrow, _T.narrow)
def _narrow(input: Any, dim: int, start: int, length: int) -> Any:
    place = _dim(input, dim)
    start = start + input.shape[place] if start < 0 else start
    return _SELECT(input, (slice(None),) * place + (slice(start, start + length),))


@operator(torch.split, _T.split, torch.split_with_sizes, _T.split_with_sizes)
def _split(tensor: Any, split_size_or_sections: int | Sequence[int], dim: int = 0) -> Any:
    place, sizes = _dim(tensor, dim), split_size_or_sections
    if isinstance(sizes, int):
        total = tensor.shape[place]
        sizes = [min(sizes, total - start) for start in range(0, total, sizes)] or [0]
    return _SPLIT(tensor, tuple(sizes), place)


@operator(torch.chunk, _T.chunk)
def _chunk(input: Any, chunks: int, dim: int = 0) -> Any:
    return _split(input, max(1, math.ceil(input.shape[_dim(input, dim)] / chunks)), dim)


@operator(torch.unbind, _T.unbind)
def _unbind(input: Any, dim: int = 0) -> Any:
    place = _dim(input, dim)
    pieces = _SPLIT(input, (1,) * input.shape[place], place)
    return tuple(_squeeze(piece, place) for piece in pieces)


@operator(torch.clone, _T.clone)
def _clone(input: Any, *, memory_format: Any = torch.preserve_format) -> Any:
    return _COPY(input, None, input.device, memory_format)


@operator(_T.contiguous)
def _contiguous(input: Any, memory_format: Any = torch.contiguous_format) -> Any:
    return input if input.is_contiguous(memory_format=memory_format) else _clone(input, memory_format=memory_format)


@operator(torch.conj, _T.conj, torch.positive, _T.positive, _T.__pos__)
def _unchanged(input: Any) -> Any:
    return input


@operator(_T.to)
def _to(input: Any, *args: Any, **kwargs: Any) -> Any:
    copy = kwargs.pop("copy", False)
    if args and isinstance(args[0], Tensor):
        args = (args[0].device, args[0].dtype, *args[1:])
    device, dtype, _, memory_format = torch._C._nn._parse_to(*args, **kwargs)
    same = (dtype in (None, input.dtype)) and (device in (None, input.device))
    if same and not copy and memory_format is None:
        return input
    if dtype is not None and not dtype.is_floating_point:
        return input.detach().to(dtype)
    return _COPY(input, dtype, device or input.device, memory_format or torch.preserve_format)


def _converts(dtype: torch.dtype) -> Any:
    return lambda input: _to(input, dtype)


for _method, _dtype in [
    (_T.float, torch.float32),
    (_T.double, torch.float64),
    (_T.half, torch.float16),
    (_T.bfloat16, torch.bfloat16),
]:
    operator(_method)(_converts(_dtype))


@operator(_T.type_as)
def _type_as(input: Any, other: Tensor) -> Any:
    return _to(input, other.dtype)


@operator(_T.cpu)
def _cpu(input: Any) -> Any:
    return _to(input, "cpu")


@operator(_T.cuda)
def _cuda(input: Any, device: Any = "cuda") -> Any:
    return _to(input, torch.device("cuda", device) if isinstance(device, int) else torch.device(device))

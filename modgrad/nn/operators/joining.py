"""Operators that join Variables and cut them into pieces."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from modgrad import functional
from modgrad.graph import Primitive
from modgrad.graph.dispatch import operator
from modgrad.nn.operators.base import dim_of

_T: Any = Tensor
_VF: Any = torch._VF  # what some functions are underneath, which may be met instead


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


_CAT, _STACK, _SPLIT = Cat(), Stack(), Split()


@operator(torch.cat, torch.concat, torch.concatenate)
def _cat(tensors: Any, dim: int = 0, *, axis: int | None = None) -> Any:
    along = dim if axis is None else axis
    if len({x.dim() for x in tensors}) > 1:  # an empty vector may stand among tensors of any shape
        tensors = [x for x in tensors if tuple(x.shape) != (0,)]
    return _CAT(dim_of(tensors[0], along), *tensors)


@operator(torch.stack)
def _stack(tensors: Sequence[Any], dim: int = 0) -> Any:
    return _STACK(dim_of(tensors[0], dim, extra=1), *tensors)


@operator(torch.split, _T.split, torch.split_with_sizes, _T.split_with_sizes, torch.unsafe_split, _T.unsafe_split)
def _split(tensor: Any, split_size_or_sections: int | Sequence[int], dim: int = 0) -> Any:
    place, sizes = dim_of(tensor, dim), split_size_or_sections
    if isinstance(sizes, int):
        total = tensor.shape[place]
        sizes = [min(sizes, total - start) for start in range(0, total, sizes)] or [0]
    return _SPLIT(tensor, tuple(sizes), place)


@operator(torch.chunk, _T.chunk, torch.unsafe_chunk, _T.unsafe_chunk)
def _chunk(input: Any, chunks: int, dim: int = 0) -> Any:
    return _split(input, max(1, math.ceil(input.shape[dim_of(input, dim)] / chunks)), dim)


@operator(torch.unbind, _T.unbind)
def _unbind(input: Any, dim: int = 0) -> Any:
    place = dim_of(input, dim)
    pieces = _SPLIT(input, (1,) * input.shape[place], place)
    return tuple(piece.squeeze(place) for piece in pieces)


@operator(torch.tensor_split, _T.tensor_split)
def _tensor_split(input: Any, indices_or_sections: Any = None, dim: int = 0, *, sections: Any = None) -> Any:
    place, where = dim_of(input, dim), indices_or_sections if sections is None else sections
    total = input.shape[place]
    if isinstance(where, Tensor):
        where = where.tolist()
    if isinstance(where, int):
        if where < 1:
            raise ValueError(f"tensor_split into {where} pieces: expected 1 or more")
        size, longer = total // where, total % where
        return _SPLIT(input, tuple(size + (i < longer) for i in range(where)), place)
    bounds = [slice(start, end).indices(total)[:2] for start, end in itertools.pairwise([0, *where, total])]
    return tuple(input.narrow(place, start, max(end - start, 0)) for start, end in bounds)


def _np_split(name: str, input: Any, where: Any, dim: int) -> Any:
    """hsplit, vsplit, dsplit: into pieces of equal sizes, or at places."""
    if isinstance(where, int) and input.shape[dim] % where:
        raise ValueError(
            f"{name} of shape {tuple(input.shape)}: dimension {dim} does not fall into {where} equal pieces"
        )
    return _tensor_split(input, where, dim)


@operator(torch.hsplit, _T.hsplit)
def _hsplit(input: Any, indices_or_sections: Any) -> Any:
    return _np_split("hsplit", input, indices_or_sections, 0 if input.dim() == 1 else 1)


@operator(torch.vsplit, _T.vsplit)
def _vsplit(input: Any, indices_or_sections: Any) -> Any:
    if input.dim() < 2:
        raise ValueError(f"vsplit of shape {tuple(input.shape)}: expected 2 dimensions or more")
    return _np_split("vsplit", input, indices_or_sections, 0)


@operator(torch.dsplit, _T.dsplit)
def _dsplit(input: Any, indices_or_sections: Any) -> Any:
    if input.dim() < 3:
        raise ValueError(f"dsplit of shape {tuple(input.shape)}: expected 3 dimensions or more")
    return _np_split("dsplit", input, indices_or_sections, 2)


def _together(tensors: Any) -> tuple[Any, ...]:
    """Tensors given one by one or as one sequence."""
    return tuple(tensors[0]) if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)) else tuple(tensors)


def _each(reshape: Any, tensors: Any) -> Any:
    given = _together(tensors)
    shaped = tuple(x.reshape(reshape(tuple(x.shape))) for x in given)
    return shaped[0] if len(given) == 1 and isinstance(tensors[0], Tensor) else shaped


def _of_1d(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape or (1,)


def _of_2d(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (1,) * (2 - len(shape)) + shape


def _of_3d(shape: tuple[int, ...]) -> tuple[int, ...]:
    shape = _of_2d(shape)
    return (*shape, 1) if len(shape) == 2 else shape


@operator(torch.atleast_1d, _VF.atleast_1d)
def _atleast_1d(*tensors: Any) -> Any:
    return _each(_of_1d, tensors)


@operator(torch.atleast_2d, _VF.atleast_2d)
def _atleast_2d(*tensors: Any) -> Any:
    return _each(_of_2d, tensors)


@operator(torch.atleast_3d, _VF.atleast_3d)
def _atleast_3d(*tensors: Any) -> Any:
    return _each(_of_3d, tensors)


@operator(torch.hstack)
def _hstack(tensors: Sequence[Any]) -> Any:
    vectors = _each(_of_1d, (tensors,))
    return torch.cat(vectors, 0 if vectors[0].dim() == 1 else 1)


@operator(torch.vstack, torch.row_stack)
def _vstack(tensors: Sequence[Any]) -> Any:
    return torch.cat(_each(_of_2d, (tensors,)), 0)


@operator(torch.dstack)
def _dstack(tensors: Sequence[Any]) -> Any:
    return torch.cat(_each(_of_3d, (tensors,)), 2)


@operator(torch.column_stack)
def _column_stack(tensors: Sequence[Any]) -> Any:
    columns = tuple(x.reshape(-1, 1) if x.dim() < 2 else x for x in tensors)
    return torch.cat(columns, 1)


@operator(torch.broadcast_tensors, _VF.broadcast_tensors)
def _broadcast_tensors(*tensors: Any) -> Any:
    given = _together(tensors)
    shape = torch.broadcast_shapes(*(x.shape for x in given))
    return tuple(x.expand(shape) for x in given)


@operator(torch.meshgrid, _VF.meshgrid)
def _meshgrid(*tensors: Any, indexing: str | None = None) -> Any:
    given = [x.reshape(-1) for x in _together(tensors)]
    if indexing not in (None, "ij", "xy"):
        raise ValueError(f'meshgrid(indexing={indexing!r}): expected "ij" or "xy"')
    swapped = indexing == "xy" and len(given) > 1
    if swapped:
        given[:2] = given[1], given[0]
    shape = tuple(x.shape[0] for x in given)
    grids = [x.reshape((-1,) + (1,) * (len(given) - 1 - i)).expand(shape) for i, x in enumerate(given)]
    if swapped:
        grids[:2] = grids[1], grids[0]
    return tuple(grids)


@operator(torch.cartesian_prod, _VF.cartesian_prod)
def _cartesian_prod(*tensors: Any) -> Any:
    given = _together(tensors)
    if len(given) == 1:
        return given[0]
    return torch.stack([grid.reshape(-1) for grid in _meshgrid(*given, indexing="ij")], 1)


@operator(torch.combinations)
def _combinations(input: Any, r: int = 2, with_replacement: bool = False) -> Any:
    numbers = torch.arange(input.shape[0], device=input.device)
    return input[torch.combinations(numbers, r, with_replacement)]


@operator(torch.block_diag, _VF.block_diag)
def _block_diag(*tensors: Any) -> Any:
    blocks = [x.reshape(_of_2d(tuple(x.shape))) for x in _together(tensors)]
    widths, dtype = [x.shape[1] for x in blocks], blocks[0].dtype
    for x in blocks:
        dtype = torch.promote_types(dtype, x.dtype)
    rows = []
    for i, x in enumerate(blocks):
        before, after = (x.detach().new_zeros(x.shape[0], sum(w)) for w in (widths[:i], widths[i + 1 :]))
        rows.append(torch.cat([before, x, after], 1).to(dtype))
    return torch.cat(rows, 0)

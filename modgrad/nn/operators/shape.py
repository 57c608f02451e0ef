"""Operators that put values into another shape or order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from modgrad import functional
from modgrad.graph import Primitive
from modgrad.graph.dispatch import operator
from modgrad.nn.operators.base import Formula, dim_of, sizes

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


class Flip(Formula, function=functional.flip):
    """Some dimensions in reverse order."""


class Roll(Formula, function=functional.roll):
    """Values moved on along some dimensions, round the end."""


class Tril(Formula, function=functional.tril):
    """Matrices without what is above a diagonal."""


class Triu(Formula, function=functional.triu):
    """Matrices without what is below a diagonal."""


class Diagonal(Formula, function=functional.diagonal):
    """A diagonal of two dimensions."""


class DiagEmbed(Formula, function=functional.diag_embed):
    """Matrices with given diagonals."""


class Windows(Formula, function=functional.windows):
    """Overlapping windows of a dimension."""


_RESHAPE, _PERMUTE, _EXPAND, _FLIP, _ROLL = Reshape(), Permute(), Expand(), Flip(), Roll()
_TRIL, _TRIU, _DIAGONAL, _DIAG_EMBED, _WINDOWS = Tril(), Triu(), Diagonal(), DiagEmbed(), Windows()


@operator(_T.reshape, _T.view)
def _reshape(input: Any, *shape: Any) -> Any:
    if len(shape) == 1 and isinstance(shape[0], torch.dtype):
        raise TypeError("view(dtype) of a Variable has no derivative: write .to(dtype), which converts the values")
    return _RESHAPE(input, sizes(shape))


@operator(torch.reshape)
def _torch_reshape(input: Any, shape: Sequence[int]) -> Any:
    return _RESHAPE(input, tuple(shape))


@operator(_T.view_as, _T.reshape_as)
def _view_as(input: Any, other: Tensor) -> Any:
    return _RESHAPE(input, other.shape)


@operator(torch.flatten, _T.flatten, torch.ravel, _T.ravel)
def _flatten(input: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    shape = tuple(input.shape) or (1,)
    start, end = dim_of(input, start_dim), dim_of(input, end_dim)
    if start > end:
        raise ValueError(f"flatten(start_dim={start_dim}, end_dim={end_dim}): the start comes after the end")
    return _RESHAPE(input, (*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :]))


@operator(torch.unsqueeze, _T.unsqueeze)
def _unsqueeze(input: Any, dim: int) -> Any:
    place = dim_of(input, dim, extra=1)
    return _RESHAPE(input, (*input.shape[:place], 1, *input.shape[place:]))


@operator(torch.squeeze, _T.squeeze)
def _squeeze(input: Any, dim: Any = None) -> Any:
    dims = range(input.dim()) if dim is None else [dim_of(input, d) for d in ((dim,) if isinstance(dim, int) else dim)]
    return _RESHAPE(input, tuple(size for d, size in enumerate(input.shape) if not (d in dims and size == 1)))


@operator(_T.permute)
def _permute(input: Any, *given: Any, dims: Any = None) -> Any:
    return _torch_permute(input, sizes(given) if dims is None else dims)


@operator(torch.permute)
def _torch_permute(input: Any, dims: Sequence[int]) -> Any:
    order = tuple(dim_of(input, d) for d in dims)
    if sorted(order) != list(range(input.dim())):
        raise ValueError(f"permute{tuple(dims)} of a tensor of shape {tuple(input.shape)}: name each dimension once")
    return _PERMUTE(input, order)


@operator(torch.transpose, torch.swapaxes, torch.swapdims, _T.transpose, _T.swapaxes, _T.swapdims)
def _transpose(input: Any, dim0: int, dim1: int) -> Any:
    order = list(range(input.dim()))
    a, b = dim_of(input, dim0), dim_of(input, dim1)
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
def _expand(input: Any, *given: Any, size: Any = None) -> Any:
    return _EXPAND(input, sizes(given) if size is None else tuple(size))


@operator(torch.broadcast_to, _T.broadcast_to)
def _broadcast_to(input: Any, size: Sequence[int]) -> Any:
    return _EXPAND(input, tuple(size))


@operator(_T.expand_as)
def _expand_as(input: Any, other: Tensor) -> Any:
    return _EXPAND(input, tuple(other.shape))


@operator(_T.unflatten)
def _unflatten(input: Any, dim: int, sizes: Sequence[int]) -> Any:
    place = dim_of(input, dim)
    return _RESHAPE(input, (*input.shape[:place], *sizes, *input.shape[place + 1 :]))


@operator(torch.unflatten)
def _torch_unflatten(input: Any, dim: int, sizes: Sequence[int]) -> Any:
    return _unflatten(input, dim, sizes)


@operator(_T.sum_to_size)
def _sum_to_size(input: Any, *size: Any) -> Any:
    shape = sizes(size)
    added = input.dim() - len(shape)
    if added < 0 or any(size not in (1, whole) for size, whole in zip(shape, input.shape[added:], strict=True)):
        raise ValueError(f"sum_to_size{shape} of shape {tuple(input.shape)}: it does not broadcast to that")
    dims = [d for d in range(input.dim()) if d < added or (shape[d - added] == 1 and input.shape[d] != 1)]
    return _RESHAPE(input.sum(dims), shape) if dims else input


@operator(_T.H.__get__, _T.mH.__get__, torch.adjoint, _T.adjoint)
def _adjoint(input: Any) -> Any:
    return _transpose(input, -2, -1) if input.dim() else input


@operator(torch.movedim, torch.moveaxis, _T.movedim, _T.moveaxis)
def _movedim(input: Any, source: Any, destination: Any) -> Any:
    moved, places = (((x,) if isinstance(x, int) else tuple(x)) for x in (source, destination))
    moved, places = (tuple(dim_of(input, d) for d in dims) for dims in (moved, places))
    if len(moved) != len(places) or len({*moved}) != len(moved) or len({*places}) != len(places):
        raise ValueError(f"movedim(source={source}, destination={destination}): name as many places, each once")
    rest = iter(d for d in range(input.dim()) if d not in moved)
    return _PERMUTE(input, tuple(moved[places.index(d)] if d in places else next(rest) for d in range(input.dim())))


@operator(_T.repeat)
def _repeat(input: Any, *given: Any, repeats: Any = None) -> Any:
    times = sizes(given) if repeats is None else tuple(repeats)
    if len(times) < input.dim():
        raise ValueError(f"repeat{tuple(times)} of shape {tuple(input.shape)}: say how often for each dimension")
    shape = (1,) * (len(times) - input.dim()) + tuple(input.shape)
    apart = _RESHAPE(input, tuple(s for size in shape for s in (1, size)))
    spread = _EXPAND(apart, tuple(s for pair in zip(times, shape, strict=True) for s in pair))
    return _RESHAPE(spread, tuple(time * size for time, size in zip(times, shape, strict=True)))


@operator(torch.tile)
def _tile(input: Any, dims: Sequence[int]) -> Any:
    return _repeat(input, (1,) * (input.dim() - len(dims)) + tuple(dims))


@operator(_T.tile)
def _tile_method(input: Any, *given: Any, dims: Any = None) -> Any:
    return _tile(input, sizes(given) if dims is None else dims)


@operator(torch.repeat_interleave, _T.repeat_interleave)
def _repeat_interleave(input: Any, repeats: Any, dim: int | None = None, *, output_size: int | None = None) -> Any:
    if dim is None:
        input, dim = _RESHAPE(input, (-1,)), 0
    place = dim_of(input, dim)
    if isinstance(repeats, Tensor):
        which = torch.arange(input.shape[place], device=input.device)
        if repeats.numel() == 1:
            repeats = repeats.reshape(-1).expand(which.shape)
        which = torch.repeat_interleave(which, repeats, output_size=output_size)
        return torch.index_select(input, place, which)
    shape = tuple(input.shape) or (1,)
    before, after = shape[: place + 1], shape[place + 1 :]
    spread = _EXPAND(_RESHAPE(input, (*before, 1, *after)), (*before, repeats, *after))
    return _RESHAPE(spread, (*before[:-1], before[-1] * repeats, *after))


@operator(torch.flip)
def _flip(input: Any, dims: Sequence[int]) -> Any:
    return _FLIP(input, (dims,) if isinstance(dims, int) else tuple(dims))


@operator(_T.flip)
def _flip_method(input: Any, *given: Any, dims: Any = None) -> Any:
    return _flip(input, sizes(given) if dims is None else dims)


@operator(torch.fliplr, _T.fliplr)
def _fliplr(input: Any) -> Any:
    return _FLIP(input, (1,))


@operator(torch.flipud, _T.flipud)
def _flipud(input: Any) -> Any:
    return _FLIP(input, (0,))


@operator(torch.rot90, _T.rot90)
def _rot90(input: Any, k: int = 1, dims: Sequence[int] = (0, 1)) -> Any:
    first, second = (dim_of(input, d) for d in dims)
    turns = {0: (), 1: (second,), 2: (first, second), 3: (first,)}[k % 4]
    turned = _FLIP(input, turns) if turns else input
    return _transpose(turned, first, second) if k % 2 else turned


@operator(torch.roll, _T.roll)
def _roll(input: Any, shifts: Any, dims: Any = None) -> Any:
    shifts, dims = (((x,) if isinstance(x, int) else tuple(x or ())) for x in (shifts, dims))
    if not dims:
        return _RESHAPE(_ROLL(_RESHAPE(input, (-1,)), shifts, (0,)), input.shape)
    return _ROLL(input, shifts, dims)


@operator(torch.tril, _T.tril)
def _tril(input: Any, diagonal: int = 0) -> Any:
    return _TRIL(input, diagonal)


@operator(torch.triu, _T.triu)
def _triu(input: Any, diagonal: int = 0) -> Any:
    return _TRIU(input, diagonal)


@operator(torch.diagonal, _T.diagonal)
def _diagonal(input: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    return _DIAGONAL(input, offset, dim_of(input, dim1), dim_of(input, dim2))


@operator(torch.linalg.diagonal)
def _linalg_diagonal(A: Any, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Any:  # noqa: N803 (PyTorch's name)
    return _diagonal(A, offset, dim1, dim2)


@operator(torch.diag_embed, _T.diag_embed)
def _diag_embed(input: Any, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Any:
    return _DIAG_EMBED(input, offset, dim_of(input, dim1, extra=1), dim_of(input, dim2, extra=1))


@operator(torch.diag, _T.diag)
def _diag(input: Any, diagonal: int = 0) -> Any:
    if input.dim() not in (1, 2):
        raise ValueError(f"diag of shape {tuple(input.shape)}: expected a vector or a matrix; else write diagonal")
    return _diag_embed(input, diagonal) if input.dim() == 1 else _diagonal(input, diagonal)


@operator(torch.diagflat, _T.diagflat)
def _diagflat(input: Any, offset: int = 0) -> Any:
    return _diag_embed(_RESHAPE(input, (-1,)), offset)


@operator(_T.unfold)
def _unfold(input: Any, dimension: int, size: int, step: int) -> Any:
    return _WINDOWS(input, dim_of(input, dimension), size, step)

"""Extremes, medians and sorting of Variables. What is given by index has that index as a plain tensor."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from modgrad import functional
from modgrad.graph import Primitive
from modgrad.graph.dispatch import operator
from modgrad.nn.operators.base import Formula, Unary, camel, dim_of, dims_of, made
from modgrad.nn.operators.elementwise import functions_named

_T: Any = Tensor


class Taken(Primitive):
    """Values found along a dimension, and their indices.

    dim: which one; kept: whether the outputs have it; then the function's own arguments.
    """

    function: Any

    def __init_subclass__(cls, function: Any = None, **named: Any) -> None:
        super().__init_subclass__(**named)
        if function is not None:
            cls.function = staticmethod(function)

    def forward(self, call: Any, input: Tensor, dim: int, kept: bool, *arguments: Any) -> tuple[Tensor, Tensor]:
        values, indices = type(self).function(input, *arguments)
        call.save(indices)
        call.how = input.shape, dim, kept or input.dim() == 0
        return values, indices

    def backward(self, call: Any, grad: Tensor, _: None) -> Tensor:
        (indices,) = call.saved
        shape, dim, kept = call.how
        if not kept:
            grad, indices = grad.unsqueeze(dim), indices.unsqueeze(dim)
        return functional.taken_backward(grad, shape, indices, dim)


class AMax(Formula, function=functional.amax):
    """The largest value over some dimensions."""


class AMin(Formula, function=functional.amin):
    """The smallest value over some dimensions."""


_AMAX, _AMIN = AMax(), AMin()
_TAKEN: dict[str, Taken] = {}
_WHOLE: dict[str, Unary] = {}


def _make() -> None:
    for name in ("max", "min", "median", "nanmedian"):
        whole = made(camel(name), Unary, __name__, getattr(functional, name))
        along = made(f"{camel(name)}Along", Taken, __name__, getattr(functional, f"{name}_along"))
        globals().update({whole.__name__: whole, along.__name__: along})
        _WHOLE[name], _TAKEN[name] = whole(), along()
    for name in ("mode", "kthvalue", "topk", "sort", "cummax", "cummin"):
        along = made(camel(name), Taken, __name__, getattr(functional, name))
        globals()[along.__name__] = along
        _TAKEN[name] = along()


_make()


def _enter(name: str) -> None:
    """max, min, median, nanmedian: of all values, along a dimension, or, for two of them, of two tensors."""
    whole, along, result = _WHOLE[name], _TAKEN[name], getattr(torch.return_types, name)
    of_two = getattr(torch, f"{name}imum", None)

    @operator(*functions_named(name))
    def call(input: Any, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
        other = dim if isinstance(dim, Tensor) else other
        if other is not None and of_two is not None:
            return of_two(input, other)
        if dim is None:
            return whole(input)
        place = dim_of(input, dim)
        return result(along(input, place, keepdim, place, keepdim))


for _name in _WHOLE:
    _enter(_name)


@operator(torch.amax, _T.amax)
def _amax(input: Any, dim: Any = (), keepdim: bool = False) -> Any:
    return _AMAX(input, dims_of(input, dim), keepdim)


@operator(torch.amin, _T.amin)
def _amin(input: Any, dim: Any = (), keepdim: bool = False) -> Any:
    return _AMIN(input, dims_of(input, dim), keepdim)


@operator(torch.aminmax, _T.aminmax)
def _aminmax(input: Any, *, dim: int | None = None, keepdim: bool = False) -> Any:
    dims = dims_of(input, dim)
    return torch.return_types.aminmax((_AMIN(input, dims, keepdim), _AMAX(input, dims, keepdim)))


@operator(torch.mode, _T.mode)
def _mode(input: Any, dim: int = -1, keepdim: bool = False) -> Any:
    place = dim_of(input, dim)
    return torch.return_types.mode(_TAKEN["mode"](input, place, keepdim, place, keepdim))


@operator(torch.kthvalue, _T.kthvalue)
def _kthvalue(input: Any, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    place = dim_of(input, dim)
    return torch.return_types.kthvalue(_TAKEN["kthvalue"](input, place, keepdim, k, place, keepdim))


@operator(torch.topk, _T.topk)
def _topk(input: Any, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    place = dim_of(input, dim)
    return torch.return_types.topk(_TAKEN["topk"](input, place, True, k, place, largest, sorted))


@operator(torch.sort, _T.sort)
def _sort(input: Any, dim: int = -1, descending: bool = False, stable: bool = False) -> Any:
    place = dim_of(input, dim)
    return torch.return_types.sort(_TAKEN["sort"](input, place, True, place, descending, stable))


@operator(torch.msort, _T.msort)
def _msort(input: Any) -> Any:
    return _sort(input, 0)[0]


@operator(torch.cummax, _T.cummax)
def _cummax(input: Any, dim: int) -> Any:
    place = dim_of(input, dim)
    return torch.return_types.cummax(_TAKEN["cummax"](input, place, True, place))


@operator(torch.cummin, _T.cummin)
def _cummin(input: Any, dim: int) -> Any:
    place = dim_of(input, dim)
    return torch.return_types.cummin(_TAKEN["cummin"](input, place, True, place))

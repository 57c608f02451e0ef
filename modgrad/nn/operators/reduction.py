"""Reductions and running sums of Variables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from modgrad import functional
from modgrad.graph import Primitive
from modgrad.graph.dispatch import operator
from modgrad.nn.operators.base import Formula, dim_of, dims_of

_T: Any = Tensor


class Reduction(Primitive):
    """A sum or a mean over some dimensions."""

    function: Any
    derivative: Any

    def forward(self, call: Any, input: Tensor, dims: tuple[int, ...], keepdim: bool) -> Tensor:
        call.how = input.shape, dims, keepdim
        return type(self).function(input, dims, keepdim)

    def backward(self, call: Any, grad: Tensor) -> Tensor:
        return type(self).derivative(grad, *call.how)


class Sum(Reduction):
    function = staticmethod(functional.sum)
    derivative = staticmethod(functional.sum_backward)


class Mean(Reduction):
    function = staticmethod(functional.mean)
    derivative = staticmethod(functional.mean_backward)


class NanSum(Formula, function=functional.nansum):
    """A sum of those values that are numbers."""


class LogSumExp(Formula, function=functional.logsumexp):
    """The logarithm of the sum of exponentials."""


class Prod(Formula, function=functional.prod):
    """A product along a dimension."""


class Var(Formula, function=functional.var):
    """The variance over some dimensions."""


class Std(Formula, function=functional.std):
    """The standard deviation over some dimensions."""


class Norm(Formula, function=functional.norm):
    """The p-norm over some dimensions."""


class Cumsum(Formula, function=functional.cumsum):
    """Sums so far along a dimension."""


class Cumprod(Formula, function=functional.cumprod):
    """Products so far along a dimension."""


class Logcumsumexp(Formula, function=functional.logcumsumexp):
    """Logarithms of sums of exponentials so far along a dimension."""


_SUM, _MEAN, _NANSUM, _LOGSUMEXP, _PROD = Sum(), Mean(), NanSum(), LogSumExp(), Prod()
_VAR, _STD, _NORM, _CUMSUM, _CUMPROD, _LOGCUMSUMEXP = Var(), Std(), Norm(), Cumsum(), Cumprod(), Logcumsumexp()


def converted(input: Any, dtype: torch.dtype | None) -> Any:
    return input if dtype is None else input.to(dtype)


def _reduce(reduction: Primitive, input: Any, dim: Any, keepdim: bool, dtype: torch.dtype | None) -> Any:
    input = input if dtype is None else input.to(dtype)
    return reduction(input, dims_of(input, dim), keepdim)


@operator(torch.sum, _T.sum)
def _sum(
    input: Any, dim: Any = None, keepdim: bool = False, *, axis: Any = None, dtype: torch.dtype | None = None
) -> Any:
    return _reduce(_SUM, input, dim if axis is None else axis, keepdim, dtype)


@operator(torch.mean, _T.mean)
def _mean(
    input: Any, dim: Any = None, keepdim: bool = False, *, axis: Any = None, dtype: torch.dtype | None = None
) -> Any:
    return _reduce(_MEAN, input, dim if axis is None else axis, keepdim, dtype)


@operator(torch.nansum, _T.nansum)
def _nansum(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: torch.dtype | None = None) -> Any:
    return _reduce(_NANSUM, input, dim, keepdim, dtype)


@operator(torch.nanmean, _T.nanmean)
def _nanmean(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: torch.dtype | None = None) -> Any:
    numbers = (~input.isnan()).sum(dims_of(input, dim), keepdim)
    return _reduce(_NANSUM, input, dim, keepdim, dtype) / numbers


@operator(torch.logsumexp, _T.logsumexp, torch.special.logsumexp)
def _logsumexp(input: Any, dim: Any, keepdim: bool = False) -> Any:
    return _LOGSUMEXP(input, dims_of(input, dim), keepdim)


@operator(torch.prod, _T.prod)
def _prod(input: Any, dim: int | None = None, keepdim: bool = False, *, dtype: torch.dtype | None = None) -> Any:
    input = converted(input, dtype)
    return _PROD(input.reshape(-1), 0, False) if dim is None else _PROD(input, dim_of(input, dim), keepdim)


def _correction(dim: Any, unbiased: bool | None, correction: float | None) -> tuple[Any, float]:
    """The dimensions and the correction that var and std were given, in whichever way."""
    if isinstance(dim, bool):  # var(x, False)
        dim, unbiased = None, dim
    if correction is None:
        correction = 0 if unbiased is False else 1
    return dim, correction


def _spread(primitive: Formula, input: Any, dim: Any, unbiased: Any, keepdim: bool, correction: Any) -> Any:
    dim, correction = _correction(dim, unbiased, correction)
    return primitive(input, dims_of(input, dim), correction, keepdim)


@operator(torch.var, _T.var)
def _var(
    input: Any, dim: Any = None, unbiased: bool | None = None, keepdim: bool = False, *, correction: float | None = None
) -> Any:
    return _spread(_VAR, input, dim, unbiased, keepdim, correction)


@operator(torch.std, _T.std)
def _std(
    input: Any, dim: Any = None, unbiased: bool | None = None, keepdim: bool = False, *, correction: float | None = None
) -> Any:
    return _spread(_STD, input, dim, unbiased, keepdim, correction)


@operator(torch.var_mean)
def _var_mean(
    input: Any, dim: Any = None, unbiased: bool | None = None, keepdim: bool = False, *, correction: float | None = None
) -> Any:
    dim, correction = _correction(dim, unbiased, correction)
    return _spread(_VAR, input, dim, None, keepdim, correction), input.mean(dim, keepdim)


@operator(torch.std_mean)
def _std_mean(
    input: Any, dim: Any = None, unbiased: bool | None = None, keepdim: bool = False, *, correction: float | None = None
) -> Any:
    dim, correction = _correction(dim, unbiased, correction)
    return _spread(_STD, input, dim, None, keepdim, correction), input.mean(dim, keepdim)


def _no_singular_values(name: str, ord: Any) -> RuntimeError:
    return RuntimeError(
        f"{name} with ord={ord!r} is a function of singular values, which have no derivative here: take ord='fro', or "
        "1 or inf"
    )


@operator(torch.linalg.vector_norm)
def _vector_norm(
    x: Any, ord: float = 2, dim: Any = None, keepdim: bool = False, *, dtype: torch.dtype | None = None
) -> Any:
    x = converted(x, dtype)
    return _NORM(x, float(ord), dims_of(x, dim), keepdim)


@operator(torch.norm, _T.norm)
def _norm(input: Any, p: Any = "fro", dim: Any = None, keepdim: bool = False, dtype: torch.dtype | None = None) -> Any:
    if p == "nuc":
        raise _no_singular_values("norm", p)
    return _vector_norm(input, 2 if p in ("fro", None) else p, dim, keepdim, dtype=dtype)


@operator(torch.linalg.matrix_norm)
def _matrix_norm(
    A: Any,  # noqa: N803 (PyTorch's name)
    ord: Any = "fro",
    dim: Sequence[int] = (-2, -1),
    keepdim: bool = False,
    *,
    dtype: torch.dtype | None = None,
) -> Any:
    A = converted(A, dtype)
    rows, columns = (dim_of(A, d) for d in dim)
    if ord == "fro":
        return _NORM(A, 2.0, (rows, columns), keepdim)
    if ord not in (1, -1, math.inf, -math.inf):
        raise _no_singular_values("matrix_norm", ord)
    summed, chosen = (rows, columns) if abs(ord) == 1 else (columns, rows)
    sums = _NORM(A, 1.0, (summed,), True)
    extreme = sums.amax((chosen,), True) if ord > 0 else sums.amin((chosen,), True)
    return extreme if keepdim else extreme.squeeze((rows, columns))


@operator(torch.linalg.norm)
def _linalg_norm(
    A: Any,  # noqa: N803 (PyTorch's name)
    ord: Any = None,
    dim: Any = None,
    keepdim: bool = False,
    *,
    dtype: torch.dtype | None = None,
) -> Any:
    if ord is None:
        return _vector_norm(A, 2, dim, keepdim, dtype=dtype)
    if isinstance(dim, int) or (dim is None and A.dim() == 1) or (dim is not None and len(dim) == 1):
        return _vector_norm(A, ord, dim, keepdim, dtype=dtype)
    if dim is None and A.dim() != 2:
        raise ValueError(f"linalg.norm(ord={ord!r}) of shape {tuple(A.shape)}: say which dimensions, by dim=")
    return _matrix_norm(A, ord, (0, 1) if dim is None else dim, keepdim, dtype=dtype)


@operator(torch.dist, _T.dist)
def _dist(input: Any, other: Any, p: float = 2) -> Any:
    return _vector_norm(input - other, p)


@operator(torch.cumsum, _T.cumsum)
def _cumsum(input: Any, dim: int, *, dtype: torch.dtype | None = None) -> Any:
    return _CUMSUM(converted(input, dtype), dim_of(input, dim))


@operator(torch.cumprod, _T.cumprod)
def _cumprod(input: Any, dim: int, *, dtype: torch.dtype | None = None) -> Any:
    return _CUMPROD(converted(input, dtype), dim_of(input, dim))


@operator(torch.logcumsumexp, _T.logcumsumexp)
def _logcumsumexp(input: Any, dim: int) -> Any:
    return _LOGCUMSUMEXP(input, dim_of(input, dim))


@operator(torch.trace, _T.trace)
def _trace(input: Any) -> Any:
    if input.dim() != 2:
        raise ValueError(
            f"trace of shape {tuple(input.shape)}: expected a matrix; of many, x.diagonal(0, -2, -1).sum(-1)"
        )
    return input.diagonal().sum()


@operator(torch.diff, _T.diff)
def _diff(input: Any, n: int = 1, dim: int = -1, prepend: Any = None, append: Any = None) -> Any:
    if n < 1:
        return input
    place = dim_of(input, dim)
    parts = [x for x in (prepend, input, append) if x is not None]
    difference = parts[0] if len(parts) == 1 else torch.cat(parts, place)
    for _ in range(min(n, difference.shape[place])):
        count = difference.shape[place] - 1
        difference = difference.narrow(place, 1, count) - difference.narrow(place, 0, count)
    return difference

"""Quantiles, covariances and integrals of Variables, made of other operators."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from modgrad.graph.dispatch import operator
from modgrad.nn.operators.base import dim_of

_T: Any = Tensor


@operator(torch.quantile, _T.quantile)
def _quantile(
    input: Any, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Any:
    return _quantiles("quantile", input, q, dim, keepdim, interpolation)


@operator(torch.nanquantile, _T.nanquantile)
def _nanquantile(
    input: Any, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Any:
    return _quantiles("nanquantile", input, q, dim, keepdim, interpolation)


def _quantiles(name: str, input: Any, q: Any, dim: int | None, keepdim: bool, interpolation: str) -> Any:
    """The values at the places q (n - 1) of n in order, or between two of them."""
    if interpolation not in ("linear", "lower", "higher", "midpoint", "nearest"):
        raise ValueError(
            f"{name}(interpolation={interpolation!r}): expected linear, lower, higher, midpoint or nearest"
        )
    levels = q if isinstance(q, Tensor) else torch.tensor(q, dtype=input.dtype, device=input.device)
    given = (
        q if isinstance(q, (tuple, list)) else () if isinstance(q, Tensor) else (q,)
    )  # what is no tensor can be read
    if levels.dim() > 1 or not all(0 <= level <= 1 for level in given):
        raise ValueError(f"{name}(q={q}): expected a number from 0 to 1, or a vector of such")
    whole = dim is None
    place = 0 if dim is None else dim_of(input, dim)
    values = input.reshape(-1) if whole or not input.dim() else input.movedim(place, -1)
    ordered = values.sort(-1).values
    missing = values.isnan().sum(-1, keepdim=True)
    count = values.shape[-1] - missing if name == "nanquantile" else torch.full_like(missing, values.shape[-1])
    ranks = levels.reshape(-1) * (count - 1).clamp(min=0).to(input.dtype)  # (..., how many q)
    if name == "quantile":
        ranks = torch.where(missing > 0, float(values.shape[-1] - 1), ranks)  # the last in order is NaN
    if interpolation == "lower":
        ranks = ranks.floor()
    elif interpolation == "higher":
        ranks = ranks.ceil()
    elif interpolation == "nearest":
        ranks = ranks.round()
    places = ranks.detach()
    found = ordered.gather(-1, places.long())
    if interpolation in ("linear", "midpoint"):
        weight = torch.full_like(places, 0.5) if interpolation == "midpoint" else ranks - places.floor()
        found = torch.lerp(found, ordered.gather(-1, places.ceil().long()), weight)
    found = found.movedim(-1, 0)  # (how many q, ...)
    if keepdim and input.dim():
        found = found.reshape(-1, *[1] * input.dim()) if whole else found.unsqueeze(place + 1)
    return found.squeeze(0) if levels.dim() == 0 else found


@operator(torch.cov, _T.cov)
def _cov(input: Any, *, correction: int = 1, fweights: Any = None, aweights: Any = None) -> Any:
    if input.dim() > 2:
        raise ValueError(f"cov of shape {tuple(input.shape)}: expected variables in rows, observations in columns")
    rows = input.reshape(1, -1) if input.dim() < 2 else input
    weights = None
    for given in (fweights, aweights):
        if given is not None:
            weights = given if weights is None else weights * given
    total = rows.shape[1] if weights is None else weights.sum()
    mean = (rows if weights is None else rows * weights).sum(1, keepdim=True) / total
    freedom = total - correction
    if weights is not None and aweights is not None and correction:
        freedom = total - correction * (weights * aweights).sum() / total
    freedom = freedom.clamp(min=0) if isinstance(freedom, Tensor) else max(freedom, 0)
    centred = rows - mean
    product = (centred if weights is None else centred * weights) @ centred.t()
    covariance = product / freedom
    return covariance.squeeze()


@operator(torch.corrcoef, _T.corrcoef)
def _corrcoef(input: Any) -> Any:
    covariance = _cov(input)
    if not covariance.dim():
        return covariance / covariance
    deviation = covariance.diagonal().sqrt()
    return (covariance / deviation.unsqueeze(1) / deviation.unsqueeze(0)).clip(-1, 1)


def _trapezoids(y: Any, x: Any, dx: float, dim: int) -> tuple[Any, int]:
    """The areas between neighbours along a dimension."""
    place = dim_of(y, dim)
    count = max(y.shape[place] - 1, 0)
    left, right = y.narrow(place, 0, count), y.narrow(place, min(1, y.shape[place]), count)
    if x is None:
        return (left + right) * (dx / 2), place
    if x.dim() == 1:
        x = x.reshape((-1,) + (1,) * (y.dim() - place - 1))
        width = x.diff(dim=0)
    else:
        width = x.diff(dim=place - y.dim())
    return (left + right) * width / 2, place


@operator(torch.trapezoid, torch.trapz)
def _trapezoid(y: Any, x: Any = None, *, dx: float = 1, dim: int = -1) -> Any:
    areas, place = _trapezoids(y, x, dx, dim)
    return areas.sum(place)


@operator(torch.cumulative_trapezoid)
def _cumulative_trapezoid(y: Any, x: Any = None, *, dx: float = 1, dim: int = -1) -> Any:
    areas, place = _trapezoids(y, x, dx, dim)
    return areas.cumsum(place)

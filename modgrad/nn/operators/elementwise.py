"""Functions of each value by itself, on Variables."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from modgrad import functional
from modgrad.graph.dispatch import on_plain_values, operator
from modgrad.nn.activation import LogSoftmax, ReLU, Sigmoid, Softmax, Tanh
from modgrad.nn.operators.base import Formula, Unary, camel, made

_T: Any = Tensor


def functions_named(*names: str) -> list[Any]:
    """PyTorch's functions and methods of these names."""
    places = (torch, Tensor, torch.special)
    return [getattr(place, name) for name in names for place in places if hasattr(place, name)]


# Functions of one tensor, whose formulas are in `functional` under these names; and the other names that PyTorch has.
UNARY: dict[str, tuple[str, ...]] = {
    **{"neg": ("negative", "__neg__"), "abs": ("absolute", "__abs__")},
    **dict.fromkeys(("sqrt", "rsqrt", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p"), ()),
    **dict.fromkeys(("sin", "cos", "tan", "sinh", "cosh", "sinc", "deg2rad", "rad2deg", "frac"), ()),
    **{name: (f"arc{name[1:]}",) for name in ("asin", "acos", "atan", "asinh", "acosh", "atanh")},
    **dict.fromkeys(("erf", "erfc", "erfcx", "erfinv", "ndtr", "ndtri", "log_ndtr", "entr"), ()),
    **dict.fromkeys(("i0", "i0e", "i1", "i1e"), ()),
    **{"lgamma": ("gammaln",), "digamma": ("psi",)},
}
# The same for two tensors that broadcast, `input` and `other`, of which `other` may be a number where PyTorch's may.
BINARY: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("maximum", "minimum", "fmax", "fmin", "fmod", "remainder", "hypot", "copysign"), ()),
    **dict.fromkeys(("logaddexp", "logaddexp2", "xlogy", "xlog1py"), ()),
    **{"atan2": ("arctan2",)},
}


def _enter_unary() -> None:
    for name, others in UNARY.items():
        primitive = made(camel(name), Unary, __name__, getattr(functional, name))
        globals()[primitive.__name__] = primitive
        operator(*functions_named(name, *others))(primitive())


def _enter_binary() -> None:
    for name, others in BINARY.items():
        primitive = made(camel(name), Formula, __name__, getattr(functional, name))
        globals()[primitive.__name__] = primitive
        operator(*functions_named(name, *others))(_of_two(primitive()))


def _of_two(primitive: Any) -> Any:
    def call(input: Any, other: Any) -> Any:
        return primitive(input, other)

    return call


_enter_unary()
_enter_binary()


class Where(Formula, function=functional.where):
    """One of two values at each place, as a condition says."""


class Clamp(Formula, function=functional.clamp):
    """Values brought between two bounds, numbers or tensors."""


class Lerp(Formula, function=functional.lerp):
    """A point between two values."""


class Addcmul(Formula, function=functional.addcmul):
    """A value plus a product of two."""


class Addcdiv(Formula, function=functional.addcdiv):
    """A value plus a quotient of two."""


class NanToNum(Formula, function=functional.nan_to_num):
    """Numbers in place of NaN and infinities."""


class Logit(Formula, function=functional.logit):
    """The inverse of the logistic function."""


class Polygamma(Formula, function=functional.polygamma):
    """A derivative of digamma."""


_WHERE, _CLAMP, _LERP, _ADDCMUL, _ADDCDIV = Where(), Clamp(), Lerp(), Addcmul(), Addcdiv()
_NAN_TO_NUM, _LOGIT, _POLYGAMMA = NanToNum(), Logit(), Polygamma()
_REMAINDER: Any = globals()["Remainder"]()

operator(torch.relu, _T.relu)(ReLU())
operator(torch.tanh, _T.tanh)(Tanh())
operator(torch.sigmoid, _T.sigmoid, torch.special.expit)(Sigmoid())


@operator(torch.softmax, _T.softmax)
def _softmax(input: Any, dim: int, dtype: torch.dtype | None = None) -> Any:
    return Softmax(dim)(input if dtype is None else input.to(dtype))


@operator(torch.log_softmax, _T.log_softmax)
def _log_softmax(input: Any, dim: int, dtype: torch.dtype | None = None) -> Any:
    return LogSoftmax(dim)(input if dtype is None else input.to(dtype))


@operator(_T.__rmod__)
def _rmod(input: Any, other: Any) -> Any:
    return _REMAINDER(other, input)


@operator(torch.where)
def _where(condition: Any, input: Any = None, other: Any = None) -> Any:
    if input is None and other is None:
        return on_plain_values(torch.where, (condition,), {})
    return _WHERE(condition, input, other)


@operator(_T.where)
def _where_of(input: Any, condition: Any, other: Any) -> Any:
    return _WHERE(condition, input, other)


@operator(torch.masked_fill, _T.masked_fill)
def masked_fill(input: Any, mask: Tensor, value: Any) -> Any:
    if mask.dtype != torch.bool:
        raise TypeError(f"masked_fill: the mask is {mask.dtype}: write mask.bool(), True where the value is to be")
    if isinstance(value, Tensor):
        if value.dim():
            raise ValueError(
                f"masked_fill: the value has shape {tuple(value.shape)}: write torch.where(mask, value, x)"
            )
        value = value.to(input.dtype)
    return _WHERE(mask, value, input)


@operator(torch.clamp, torch.clip, _T.clamp, _T.clip)
def _clamp(input: Any, min: Any = None, max: Any = None) -> Any:
    return _CLAMP(input, min, max)


@operator(torch.clamp_min, _T.clamp_min)
def _clamp_min(input: Any, min: Any) -> Any:
    return _CLAMP(input, min, None)


@operator(torch.clamp_max, _T.clamp_max)
def _clamp_max(input: Any, max: Any) -> Any:
    return _CLAMP(input, None, max)


@operator(torch.lerp, _T.lerp)
def _lerp(input: Any, end: Any, weight: Any) -> Any:
    return _LERP(input, end, weight)


@operator(torch.addcmul, _T.addcmul)
def _addcmul(input: Any, tensor1: Any, tensor2: Any, *, value: float = 1) -> Any:
    return _ADDCMUL(input, tensor1, tensor2, value)


@operator(torch.addcdiv, _T.addcdiv)
def _addcdiv(input: Any, tensor1: Any, tensor2: Any, *, value: float = 1) -> Any:
    return _ADDCDIV(input, tensor1, tensor2, value)


@operator(torch.nan_to_num, _T.nan_to_num)
def _nan_to_num(input: Any, nan: float | None = None, posinf: float | None = None, neginf: float | None = None) -> Any:
    return _NAN_TO_NUM(input, nan, posinf, neginf)


@operator(torch.logit, _T.logit, torch.special.logit)
def _logit(input: Any, eps: float | None = None) -> Any:
    return _LOGIT(input, eps)


@operator(torch.polygamma, torch.special.polygamma)
def _polygamma(n: int, input: Any) -> Any:
    return _POLYGAMMA(input, n)


@operator(_T.polygamma)
def _polygamma_of(input: Any, n: int) -> Any:
    return _POLYGAMMA(input, n)


@operator(torch.mvlgamma, _T.mvlgamma, torch.special.multigammaln)
def _mvlgamma(input: Any, p: int) -> Any:
    steps = torch.arange(p, dtype=input.dtype, device=input.device) / 2
    return torch.lgamma(input.unsqueeze(-1) - steps).sum(-1) + p * (p - 1) / 4 * math.log(math.pi)

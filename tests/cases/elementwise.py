"""Rows of the table: functions of each value by itself, several of one domain to a row."""

from __future__ import annotations

from collections.abc import Callable

import torch

from tests.cases.table import Inputs, distinct, normal, operator, positive

SINGLE = (torch.float32,)  # where PyTorch has no bfloat16, or rounds it on the way


def within(low: float, high: float, *shapes: tuple[int, ...]) -> Callable[[], Inputs]:
    """Values between two numbers."""
    return lambda: tuple(low + (high - low) * torch.rand(shape, dtype=torch.float64) for shape in shapes)


def condition(*shapes: tuple[int, ...]) -> Callable[[], Inputs]:
    """A condition of the first shape, and values of the others."""
    return lambda: (torch.rand(shapes[0]) > 0.5, *(torch.randn(shape, dtype=torch.float64) for shape in shapes[1:]))


CASES = [
    operator(
        "circular",
        lambda x: x.sin() * x.cos() + x.tan() * 0.1 + x.atan(),
        normal((3, 4)),
        normal(()),
        uses=("Sin", "Cos", "Tan", "Atan"),
        empty=normal((0, 4)),
    ),
    operator("hyperbolic", lambda x: x.sinh() + x.cosh() + x.asinh(), normal((3, 4)), uses=("Sinh", "Cosh", "Asinh")),
    operator("arc", lambda x: x.asin() + 2 * x.acos(), within(-0.9, 0.9, (3, 4)), uses=("Asin", "Acos")),
    operator(
        "inverse", lambda x: x.atanh() + x.erfinv(), within(-0.9, 0.9, (3, 4)), uses=("Atanh", "Erfinv"), dtypes=SINGLE
    ),
    operator("acosh", lambda x: x.acosh(), within(1.2, 3, (3, 4)), uses="Acosh"),
    operator(
        "angles",
        lambda x: x.deg2rad() + x.rad2deg() + x.sinc(),
        normal((3, 4)),
        uses=("Deg2rad", "Rad2deg", "Sinc"),
        dtypes=SINGLE,
    ),
    operator(
        "exponentials", lambda x: x.exp2() + x.expm1() - x.rsqrt(), positive((3, 4)), uses=("Exp2", "Expm1", "Rsqrt")
    ),
    operator(
        "logarithms", lambda x: x.log2() + x.log10() + x.log1p(), positive((3, 4)), uses=("Log2", "Log10", "Log1p")
    ),
    operator(
        "error functions",
        lambda x: x.erf() + 2 * x.erfc() + torch.special.erfcx(x),
        normal((3, 4)),
        uses=("Erf", "Erfc", "Erfcx"),
        dtypes=SINGLE,
    ),
    operator(
        "normal distribution",
        lambda x: torch.special.ndtr(x) + torch.special.log_ndtr(x) + torch.special.ndtri(x.sigmoid()),
        normal((3, 4)),
        uses=("Ndtr", "LogNdtr", "Ndtri"),
        dtypes=SINGLE,
    ),
    operator(
        "gamma functions",
        lambda x: x.lgamma() + x.digamma() + torch.polygamma(1, x) + x.mvlgamma(1),
        positive((3, 4)),
        uses=("Lgamma", "Digamma", "Polygamma"),
        dtypes=SINGLE,
    ),
    operator(
        "bessel functions",
        lambda x: torch.special.i0(x) + torch.special.i0e(x) + torch.special.i1(x) + torch.special.i1e(x),
        normal((3, 4)),
        uses=("I0", "I0e", "I1", "I1e"),
        dtypes=SINGLE,
    ),
    operator(
        "probabilities",
        lambda x: torch.special.entr(x) + x.logit() + x.logit(0.3),
        within(0.05, 0.95, (3, 4)),
        uses=("Entr", "Logit"),
        dtypes=SINGLE,
    ),
    operator("frac", lambda x: x.frac() * 2, within(0.1, 0.9, (3, 4)), uses="Frac", saves=False),
    operator(
        "larger and smaller",
        lambda x, y: torch.maximum(x, y) * 2 + torch.minimum(x, y),
        distinct((3, 4), (3, 4)),
        normal((3, 1), (2, 1, 4)),
        uses=("Maximum", "Minimum"),
    ),
    operator("fmax fmin", lambda x, y: torch.fmax(x, y) * 2 + x.fmin(y), normal((3, 4), (4,)), uses=("Fmax", "Fmin")),
    operator(
        "remainders",
        lambda x, y: torch.fmod(x, y) + x % y + (x % 0.7) * 2,
        positive((3, 4), (3, 4)),
        positive((3, 1), (4,)),
        uses=("Fmod", "Remainder"),
    ),
    operator(
        "points",
        lambda x, y: torch.atan2(x, y) + torch.hypot(x, y),
        positive((3, 4), (3, 4)),
        positive((4,), (3, 1)),
        uses=("Atan2", "Hypot"),
    ),
    operator("copysign", lambda x, y: torch.copysign(x, y) * x, normal((3, 4), (4,)), uses="Copysign"),
    operator(
        "logarithms of sums",
        lambda x, y: torch.logaddexp(x, y) + torch.logaddexp2(x, y),
        normal((3, 4), (3, 4)),
        normal((3, 1), (4,)),
        uses=("Logaddexp", "Logaddexp2"),
    ),
    operator(
        "products with logarithms",
        lambda x, y: torch.xlogy(x, y) + torch.special.xlog1py(x, y) + torch.xlogy(2.0, y),
        positive((3, 4), (4,)),
        uses=("Xlogy", "Xlog1py"),
    ),
    operator(
        "where",
        lambda c, x, y: torch.where(c, x, y) + x.where(c, 2.0) + torch.masked_fill(x, c, y.sum()),
        condition((3, 4), (3, 4), (4,)),
        uses="Where",
    ),
    operator(
        "clamp",
        lambda x: x.clamp(-0.3, 0.8) + x.clamp_min(0.1) * 2 + x.clamp_max(-0.1),
        normal((3, 4)),
        uses="Clamp",
    ),
    operator(
        "clamp by tensors",
        lambda x, y, z: x.clamp(y, z),
        normal((3, 4), (4,), (3, 1)),
        normal((9,), (9,), (9,)),
        uses="Clamp",
    ),
    operator(
        "lerp",
        lambda x, y, w: torch.lerp(x, y, w) + x.lerp(y, 0.3),
        normal((3, 4), (3, 4), (3, 4)),
        normal((3, 1), (4,), ()),
        uses="Lerp",
    ),
    operator(
        "addcmul addcdiv",
        lambda x, y, z: torch.addcmul(x, y, z, value=2) + x.addcdiv(y, z, value=0.5),
        positive((3, 4), (3, 4), (3, 4)),
        positive((3, 1), (4,), (1,)),
        uses=("Addcmul", "Addcdiv"),
    ),
    operator("nan_to_num", lambda x: x.nan_to_num(1.0) * 2, normal((3, 4)), uses="NanToNum"),
    operator(
        "powers in double",
        lambda x: torch.float_power(x, 2.5) + torch.ldexp(x, torch.tensor(3)) + torch.frexp(x).mantissa,
        positive((3, 4)),
        uses=("Pow", "Mul"),
        dtypes=(),
    ),
]

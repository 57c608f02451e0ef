"""What central differences tell about a derivative, how well they know it, and whether a stated one agrees.

No module here: a function of one number, t -> outputs y at t along a line, and an upstream gradient g. The derivative
of L(t) = sum of g y(t) at t = 0 is measured as sum of g (y(h) - y(-h)) / 2h, in float64.

That is wrong by truncation, about h^2 L'''/6, and by rounding, about 1e-16 |y| / h. A step of 1e-6 of the line's scale
is right for most functions, to 1e-9 or so. Where it does not agree with what was stated, `settled` tries steps from
1e-1 to 1e-11 of the scale and takes the one where the answer changes least, relative to itself, from one step to the
next; that change is the error it is known to. A stated derivative is called wrong only if it is off by more.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

import torch
from torch import Tensor

# t -> (how far t really went, for x + t is rounded; all outputs there as one float64 vector)
Line = Callable[[float], tuple[float, Tensor]]

STEP = 1e-6  # of the scale, at first look
RELATIVE = 1e-6  # what a stated derivative may be off by: of itself
ABSOLUTE = 1e-9  # of the largest derivative in the tensor
ERRORS = 5.0  # and this many times the error that the measured one is known to
KNOWN = 1e-4  # a derivative known no better than this, relative to itself, counts as not measured
SMALLEST_SCALE = 0.1  # of a value that is 0 or near it
_DOUBLE = torch.finfo(torch.float64).eps
_KINK_STEPS = (5, 6, 7)
_PLATEAU = 0.1  # answers that change by more of themselves than this say nothing


class Slope(NamedTuple):
    """A measured derivative.

    error: what it is known to. floor: below this a derivative cannot be told from rounding, measured or stated.
    flat: whether no output moves at all for small steps, though they do for larger ones, and not for rounding; then 0
    is a derivative as good as `value`.
    kink: whether the slopes to the left and right differ however near one looks; then any value from low to high,
    the sum over outputs of what lies between the two, is a derivative.
    """

    value: float
    error: float
    floor: float
    flat: bool
    kink: bool
    low: float
    high: float

    def told(self, stated: float) -> float:
        """What was measured, the nearer of two where 0 is as good."""
        return 0.0 if self.flat and abs(stated) < abs(stated - self.value) else self.value


class Verdict(Enum):
    RIGHT = "right"
    AT_KINK = "between the one-sided slopes of a kink"
    UNMEASURED = "not measured: differences do not settle"
    WRONG_AT_KINK = "outside of the one-sided slopes of a kink"
    WRONG = "wrong"


def scales_of(tensor: Tensor) -> Tensor:
    """The scale that steps away from each element are taken at: its own size, where that is not near 0."""
    return tensor.abs().clamp(min=SMALLEST_SCALE)


def _change(upstream: Tensor, to: Tensor, of: Tensor) -> Tensor:
    """g (y1 - y0) for each output; 0 where both are the same infinity."""
    if to.shape != of.shape:
        return torch.full_like(upstream, math.nan)
    return upstream * torch.where(to == of, 0.0, to - of)


def first_look(line: Line, upstream: Tensor, scale: float) -> float:
    """The central difference at the usual step."""
    right, above = line(STEP * scale)
    left, below = line(-STEP * scale)
    return float(_change(upstream, above, below).sum()) / (right - left)


class _Step(NamedTuple):
    size: float
    slope: float
    moves: bool  # whether any output does


def settled(
    line: Line, upstream: Tensor, scale: float, *, near: float = 1.0, far: float = 1.0, epsilon: float = _DOUBLE
) -> Slope:
    """The derivative from the step where it is known best.

    scale: what steps are measured in. near, far: where the function may have features that are smaller or larger, so
    that smaller or larger steps are tried, too: some 1e-5 of near, a tenth of far, in scales.
    epsilon: of the dtype that is computed in.
    """
    _, base = line(0.0)
    steps: list[_Step] = []
    sides: list[tuple[float, float]] = []  # at the steps for kinks: low and high
    ever = torch.zeros_like(base, dtype=torch.bool)
    first, last = _range(near, far)
    for k in range(first, last + 1):
        (right, above), (left, below) = line(scale * 10.0**-k), line(-scale * 10.0**-k)
        if not right > 0 > left or above.shape != base.shape or below.shape != base.shape:
            continue
        moves = (above != base) | (below != base)
        ever |= moves
        slope = float(_change(upstream, above, below).sum()) / (right - left)
        if k in _KINK_STEPS:
            rising, falling = _change(upstream, above, base) / right, _change(upstream, base, below) / -left
            sides.append((float(torch.minimum(rising, falling).sum()), float(torch.maximum(rising, falling).sum())))
        if math.isfinite(slope):
            steps.append(_Step(scale * 10.0**-k, slope, bool(moves.any())))
    sizes = torch.where(torch.isfinite(base), (upstream * base).abs(), 0.0)
    floor = 100 * epsilon * float((sizes + 1e-3 * upstream.abs()).norm()) / scale
    rounding = 2 * epsilon * float(sizes[ever].norm())
    value, error = _best(steps, rounding)
    flat = any(not step.moves and 100 * rounding < abs(value) * step.size for step in steps)
    gaps = [high - low for low, high in sides]
    kink = len(gaps) == len(_KINK_STEPS) and floor < max(gaps) < 4 * min(gaps)
    low, high = sides[-1] if kink else (value, value)
    return Slope(value, error, floor, flat, kink, low, high)


def _range(near: float, far: float) -> tuple[int, int]:
    """The first and the last k of the steps 10^-k: of 1 as it is, for near = far = 1, from 1 to 11."""
    first = 1 - math.ceil(math.log10(far)) if 1 < far < math.inf else 1
    last = max(11, 5 - math.floor(math.log10(near))) if 0 < near < 1 else 11
    return max(first, -15), min(last, 25)


def _best(steps: list[_Step], rounding: float) -> tuple[float, float]:
    """The slope that changes least, relative to itself, from the step before and to the step after; and by how much."""
    steady, best = math.inf, (math.nan, math.inf)
    nearest = math.inf, (math.nan, math.inf)  # what to say where nothing is steady
    moving = [step for step in steps if step.moves]
    if not moving:
        return (0.0, 0.0) if steps else (math.nan, math.inf)
    for i, (before, here, after) in enumerate(zip(steps, steps[1:], steps[2:], strict=False)):
        if not here.moves:
            continue  # flat, or too short a step to be seen at all
        error = max(abs(here.slope - before.slope), abs(here.slope - after.slope), rounding / here.size)
        relative = error / max(abs(before.slope), abs(here.slope), abs(after.slope), 1e-300)
        if relative < min(steady, _PLATEAU):
            steady, best = relative, (here.slope, error)
        # If this is a slope of 0 with what rounding and truncation make of it, smaller steps differ by rounding only.
        unexplained = max(abs(s.slope - here.slope) - 10 * rounding / s.size for s in steps[i + 2 :])
        if max(error, unexplained) < nearest[0]:
            nearest = max(error, unexplained), (here.slope, max(error, unexplained))
    return best if steady < math.inf else nearest[1]


def agree(stated: float, measured: float, largest: float) -> bool:
    """Whether the two are the same at first look.   largest: derivative in the tensor, stated or measured."""
    off = abs(stated - measured)
    return math.isfinite(off) and off <= RELATIVE * max(abs(stated), abs(measured)) + ABSOLUTE * largest


def judge(stated: float, slope: Slope, largest: float) -> Verdict:
    """What `stated` is, beside what was measured with care."""
    measured, error, floor = slope.value, slope.error, slope.floor
    off = abs(stated - measured)
    if agree(stated, measured, largest) or off <= floor or (slope.flat and agree(stated, 0.0, largest)):
        return Verdict.RIGHT
    if slope.kink:
        slack = RELATIVE * max(abs(slope.low), abs(slope.high)) + floor
        inside = slope.low - slack <= stated <= slope.high + slack
        return Verdict.AT_KINK if inside else Verdict.WRONG_AT_KINK
    if not math.isfinite(measured):
        return Verdict.UNMEASURED
    size = max(abs(stated), abs(measured)) if math.isfinite(stated) else abs(measured)
    known = error <= max(KNOWN * size, 100 * floor)  # or known to be nothing that matters
    if not off <= ERRORS * error and (known or math.isfinite(stated)):  # off may be nan
        return Verdict.WRONG
    return Verdict.RIGHT if known else Verdict.UNMEASURED

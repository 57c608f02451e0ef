"""One input or parameter: its stated gradient beside differences, at single elements and along directions in all."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from modgrad.check.differences import (
    KNOWN,
    SMALLEST_SCALE,
    Slope,
    Verdict,
    agree,
    first_look,
    judge,
    scales_of,
    settled,
)
from modgrad.check.report import Entry, Where
from modgrad.check.subject import Subject, Target
from modgrad.graph import Primitive

Index = tuple[int, ...]


@dataclass
class Found:
    """One element."""

    index: Index
    stated: float
    measured: float

    @property
    def off(self) -> float:
        difference = abs(self.stated - self.measured)
        return difference if math.isfinite(difference) else math.inf

    @property
    def relative(self) -> float:
        """How far it is off, relative to the larger of the two."""
        size = max(abs(self.stated), abs(self.measured))
        return self.off / size if 0 < size < math.inf else self.off


def compare_elements(subject: Subject, target: Target, gradient: Tensor, where: Where, elements: int) -> Entry:
    """Compare at up to `elements` elements, chosen at random; at the others, if there are more, along a direction."""
    tensor = target.tensor
    whole = not isinstance(subject.module, Primitive)
    entry = Entry(where, target.name, ok=True, whole=whole, total=tensor.numel())
    chosen = [unravelled(place, tensor.shape) for place in subject.random_places(elements, tensor.numel())]
    entry = _compared(subject, target, gradient, entry, chosen)
    if entry.ok and len(chosen) < tensor.numel():
        index = _one_that_is_wrong(subject, target, gradient)
        if index is not None:
            found = _compared(subject, target, gradient, entry, [index])
            return entry if found.ok else replace(found, compared=entry.compared + 1)
    return entry


def _compared(subject: Subject, target: Target, gradient: Tensor, entry: Entry, chosen: list[Index]) -> Entry:
    """`entry` with what was found at the `chosen` elements. Those that do not agree at first look are measured with
    care, the ones furthest off first, until one is wrong."""
    finite = [index for index in chosen if math.isfinite(target.tensor[index].item())]
    seen = [Found(index, gradient[index].item(), _at_first_look(subject, target, index)) for index in finite]
    entry = replace(entry, compared=len(seen), unmeasured=len(chosen) - len(finite))
    largest = max((abs(x) for e in seen for x in (e.stated, e.measured) if math.isfinite(x)), default=0.0)
    right = [e for e in seen if agree(e.stated, e.measured, largest)]
    doubtful = [e for e in seen if not agree(e.stated, e.measured, largest)]
    for e in sorted(doubtful, key=lambda e: e.off, reverse=True):
        slope = _with_care(subject, target, e.index)
        verdict = judge(e.stated, slope, largest)
        precise = Found(e.index, e.stated, slope.told(e.stated))
        if verdict is Verdict.WRONG:
            return _wrong(entry, precise, seen)
        if verdict is Verdict.WRONG_AT_KINK and not entry.whole:
            return replace(_wrong(entry, precise, seen), at_kinks=entry.at_kinks + 1)
        if verdict is Verdict.UNMEASURED:
            entry = replace(entry, unmeasured=entry.unmeasured + 1)
        elif verdict is not Verdict.RIGHT:
            entry = replace(entry, at_kinks=entry.at_kinks + 1)
        elif precise.off > slope.floor:  # below it is rounding, which may be all that there is in a tensor of zeros
            right.append(precise)
    worst = max(right, key=lambda e: e.off, default=None)
    if worst is None:
        return entry
    error = worst.off / largest if largest else 0.0
    return replace(entry, index=worst.index, stated=worst.stated, measured=worst.measured, error=error)


def _at_first_look(subject: Subject, target: Target, index: Index) -> float:
    scale = max(abs(target.tensor[index].item()), SMALLEST_SCALE)
    return first_look(subject.element_line(target, index), subject.upstream, scale)


def _with_care(subject: Subject, target: Target, index: Index) -> Slope:
    """The slope at one element: it may matter on its own scale, however small, and on that of the others."""
    tensor, value = target.tensor, abs(target.tensor[index].item())
    scale = max(value, SMALLEST_SCALE)
    usual = float(tensor[torch.isfinite(tensor)].norm()) / tensor.numel() ** 0.5
    line = subject.element_line(target, index)
    return settled(line, subject.upstream, scale, near=value / scale, far=usual / scale, epsilon=subject.epsilon)


def _wrong(entry: Entry, worst: Found, seen: list[Found]) -> Entry:
    """`entry` with its worst element, and what can be said of the others."""
    finite = [e for e in seen if math.isfinite(e.stated) and math.isfinite(e.measured)]
    largest = max((abs(e.measured) for e in finite), default=0.0)
    ratios = [e.stated / e.measured for e in finite if abs(e.measured) > 1e-3 * largest]
    steady = len(ratios) > 1 and max(ratios) - min(ratios) <= 1e-3 * abs(ratios[0])
    return replace(
        entry,
        ok=False,
        index=worst.index,
        stated=worst.stated,
        measured=worst.measured,
        error=worst.relative,
        differing=sum(not e.relative < KNOWN for e in seen),
        factor=sum(ratios) / len(ratios) if steady else None,
    )


def unravelled(place: int, shape: torch.Size) -> Index:
    """The index of the element that is number `place`, counted row by row."""
    index = []
    for size in reversed(shape):
        place, i = divmod(place, size)
        index.append(i)
    return tuple(reversed(index))


def random_direction(subject: Subject, target: Target) -> Tensor:
    """One that moves every element on its own scale; not those that are infinite."""
    tensor = target.tensor
    return torch.where(torch.isfinite(tensor), subject.random_like(tensor) * scales_of(tensor), 0.0)


def compare_along(subject: Subject, target: Target, gradient: Tensor, direction: Tensor) -> tuple[Verdict, float]:
    """Whether the stated derivative along `direction` is right; and how far it is off, relative to the gradient."""
    told, largest = float((gradient * direction).sum()), float((gradient * direction).norm())
    line = subject.line(target, direction)
    measured = first_look(line, subject.upstream, 1.0)
    if agree(told, measured, largest):
        return Verdict.RIGHT, abs(told - measured) / largest if largest else 0.0
    slope = settled(line, subject.upstream, 1.0, epsilon=subject.epsilon)
    off = max(0.0, abs(told - slope.value) - slope.floor)  # below it is rounding
    return judge(told, slope, largest), off / largest if largest else 0.0


def _one_that_is_wrong(subject: Subject, target: Target, gradient: Tensor) -> Index | None:
    """An element that is wrong, found along a direction in all elements, then in half of them, and so on."""
    direction = random_direction(subject, target)
    moved = torch.arange(direction.numel(), device=direction.device).reshape(direction.shape)
    low, high = 0, direction.numel()

    def is_wrong(low: int, high: int) -> bool:
        part = torch.where((low <= moved) & (moved < high), direction, 0.0)
        return compare_along(subject, target, gradient, part)[0] is Verdict.WRONG

    if not is_wrong(low, high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        if is_wrong(low, middle):
            high = middle
        elif is_wrong(middle, high):
            low = middle
        else:
            return None
    return unravelled(low, direction.shape)

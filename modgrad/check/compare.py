"""Stated derivatives beside measured ones: of a primitive, element by element; of a composite, from end to end."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from modgrad.check.differences import ABSOLUTE, RELATIVE, Verdict
from modgrad.check.elements import compare_along, compare_elements, random_direction, unravelled
from modgrad.check.report import Entry, Where
from modgrad.check.subject import Fault, Subject
from modgrad.graph import Primitive


def examine(subject: Subject, where: Where, elements: int) -> list[Entry]:
    """One entry for each input and parameter of `subject`; one that holds the problem, if stating them fails."""
    whole = not isinstance(subject.module, Primitive)
    try:
        stated = subject.stated()
        subject.refuse_unrepeatable()
        if whole:
            return _from_end_to_end(subject, stated, where, elements)
        pairs = zip(subject.targets, stated, strict=True)
        entries = [compare_elements(subject, target, gradient, where, elements) for target, gradient in pairs]
        if all(entry.ok for entry in entries):
            _refuse_inconsistent(subject, stated)
        return entries
    except Fault as fault:
        return [Entry(where, "", ok=False, whole=whole, problem=str(fault))]


def _from_end_to_end(subject: Subject, stated: list[Tensor], where: Where, elements: int) -> list[Entry]:
    """Compare along one random direction in each input and parameter: as all primitives are right by themselves, what
    is left to find is a whole way that a gradient does not go. Where that does not agree, element by element.

    On a kink the chained derivatives need not lie between the one-sided slopes of the whole: it is compared beside it.
    """
    entries = [_along(subject, i, g, where, elements) for i, g in enumerate(stated)]
    on_kinks = [i for i, entry in enumerate(entries) if entry.ok and entry.at_kinks]
    if on_kinks:
        with subject.elsewhere():
            moved = subject.stated()
            for i in on_kinks:
                beside = _along(subject, i, moved[i], where, elements)
                entries[i] = beside if not beside.ok else replace(beside, at_kinks=entries[i].at_kinks)
    return entries


def _along(subject: Subject, which: int, gradient: Tensor, where: Where, elements: int) -> Entry:
    """Compare the derivative along a random direction in one target; if it does not agree, at its elements."""
    target = subject.targets[which]
    verdict, error = compare_along(subject, target, gradient, random_direction(subject, target))
    if verdict is not Verdict.RIGHT:
        return compare_elements(subject, target, gradient, where, elements)
    count = target.tensor.numel()
    return Entry(where, target.name, ok=True, whole=True, error=error, compared=count, total=count)


def _refuse_inconsistent(subject: Subject, stated: list[Tensor]) -> None:
    """A derivative must be the same when it is asked for alone, and the sum of what it is for each output alone."""
    if len(subject.targets) > 1:
        for target, expected in zip(subject.targets, stated, strict=True):
            try:
                (alone,) = subject.stated(only=target)
            except Fault as fault:
                raise Fault(f"where only {target.name} wants a gradient, {fault}") from fault
            _refuse_other(alone, expected, f"where only {target.name} wants a gradient, it")
    count = subject.outputs_count()
    if count > 1:
        total = [torch.zeros_like(g) for g in stated]
        for output in range(count):
            try:
                total = [t + g for t, g in zip(total, subject.stated(output=output), strict=True)]
            except Fault as fault:
                raise Fault(f"where a gradient comes to output {output} only, None to others, {fault}") from fault
        for target, expected, gradient in zip(subject.targets, stated, total, strict=True):
            _refuse_other(gradient, expected, f"summed over its outputs one by one, the gradient of {target.name}")


def _refuse_other(gradient: Tensor, expected: Tensor, what: str) -> None:
    largest = float(expected.abs().max()) if expected.numel() else 0.0
    if not torch.allclose(gradient, expected, rtol=RELATIVE, atol=ABSOLUTE * largest, equal_nan=True):
        place = int((gradient - expected).abs().argmax())
        index = unravelled(place, expected.shape)
        raise Fault(
            f"{what} is {gradient[index].item():.8g} at {list(index)}, and {expected[index].item():.8g} otherwise"
        )

"""check.gradients: is what backward states the derivative of what forward computes?"""

from __future__ import annotations

import copy
from collections.abc import Collection
from typing import Any

from torch import Tensor

from modgrad.check.compare import examine
from modgrad.check.record import Record, Recorded, record, ways_out
from modgrad.check.report import Entry, Report, Where
from modgrad.check.state import State, random_state_kept, reseed
from modgrad.check.structure import leaves, rebuilt
from modgrad.check.subject import Subject, double_copy
from modgrad.graph import Module, Primitive


def gradients(
    module: Module, *inputs: Any, elements: int = 200, seed: int = 0, wanted: Collection[int] | None = None
) -> Report:
    """Compare what `module` states as its derivatives with central differences, in float64.

    For every floating-point input and every parameter x, with a random upstream gradient g for each output y:

        stated:   dL/dx as backward gives it, L = sum of g y
        measured: (L(x + h) - L(x - h)) / 2h, element by element

    A composite is taken apart: each call of each primitive in it, operators among them, is compared by itself, at the
    inputs that it has there, so that a wrong one is named, and no other. If all are right, the composite is compared
    from end to end, along a random direction in each input and parameter; where it is wrong then, a value has left the
    graph on the way, and the innermost composite where that shows is named.

    All of it happens on a float64 copy, with every parameter unfrozen: the module, its state and the inputs stay as
    they are, and so does torch's random state. Modules that keep state (BatchNorm2d) or draw random numbers do at each
    evaluation the same as at the first.

    module: what to check; as it is, in training or in evaluation.
    inputs: what its forward is given; tensors of any floating-point dtype, on any device that computes in float64.
    elements: how many elements of each tensor to compare, chosen at random; all, where it has no more. Where it has
        more, they are also compared along a random direction in all of them; one that is wrong is looked for there.
    seed: of these elements, of the upstream gradients, and of modules that draw random numbers.
    wanted: the numbers of those inputs that are to get a gradient; all floating-point ones if None.

    A derivative is wrong if it is off by more than 1e-6 of itself, 1e-9 of the largest in its tensor, and 5 times the
    error that the measured one is known to. At a kink (ReLU at 0, a tie in max pooling) any value between the slopes to
    the left and right is right. An output that is a plain tensor promises no derivative, and is noted and passed over.

    Raises TypeError for anything but a Module; ValueError if there is nothing to take a derivative by, or no such input
    as `wanted` names. Errors from forward are passed on; those from backward belong to the report.

    >>> import torch
    >>> from modgrad import check, nn
    >>> class Cube(nn.Primitive):
    ...     def forward(self, call, x):
    ...         call.save(x)
    ...         return x**3
    ...
    ...     def backward(self, call, grad):
    ...         (x,) = call.saved
    ...         return 2 * x**2 * grad
    >>> report = check.gradients(nn.Sequential(nn.Tanh(), Cube()), torch.tensor([0.5, 1.0, 2.0]))
    >>> report.ok
    False
    >>> [fault.module for fault in report.faults]
    ['1 (Cube)']
    >>> round(report.faults[0].factor, 6)
    0.666667
    >>> print(check.gradients(nn.Linear(3, 2), torch.randn(4, 3)))  # doctest: +ELLIPSIS
    Linear: all 3 derivatives are right
    ...
    """
    if not isinstance(module, Module):
        raise TypeError(f"check.gradients: expected an nn.Module, got {type(module).__name__} {module!r}")
    if elements < 1:
        raise ValueError(f"check.gradients(elements={elements}): expected 1 or more")
    kind = type(module).__name__
    with random_state_kept():
        own = double_copy(module)
        given = _own_inputs(inputs)
        numbers = range(len(inputs)) if wanted is None else wanted
        if any(number not in range(len(inputs)) for number in numbers):
            raise ValueError(f"check.gradients(wanted={wanted}): there are {len(inputs)} inputs, counted from 0")
        names = tuple(f"input {number}" for number in numbers)

        def is_wanted(name: str) -> bool:
            return name.partition("[")[0] in names

        subject = Subject(own, given, {}, is_wanted, seed)
        if not subject.targets:
            raise ValueError(f"{kind} has no parameter and no floating-point input that wants a gradient: see `wanted`")
        if isinstance(own, Primitive):
            return Report(kind, examine(subject, Where("", kind, kind), elements), _left_out(subject), seed)
        calls = _recorded(own, subject, seed)
        entries = [e for call in calls.primitives for e in examine(_subject_of(call, seed), call.where, elements)]
        if not all(entry.ok for entry in entries):
            note = f"{kind} was not compared from end to end: what is above must be right first."
            return Report(kind, entries, [note], seed)
        subject.epsilon = max(subject.epsilon, calls.epsilon())
        whole = examine(subject, Where("", kind, kind), elements)
        notes = _left_out(subject)
        if not all(entry.ok for entry in whole):
            whole = _innermost(calls, elements, seed) or whole
            notes += _possible_causes(calls)
        return Report(kind, entries + whole, notes, seed)


def _own_inputs(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """What forward may change without the caller's noticing; tensors are copied by the subject."""
    values = (v if isinstance(v, Tensor) else copy.deepcopy(v) for _, v in leaves(inputs))
    return rebuilt(inputs, values)


def _recorded(own: Module, subject: Subject, seed: int) -> Record:
    """The calls inside of `own`, leaving its state as it was."""
    state = State(own)
    reseed(seed)
    try:
        return record(own, subject.args())
    finally:
        state.restore()


def _subject_of(call: Recorded, seed: int) -> Subject:
    return Subject(call.module, call.args, call.named, call.wanted.__contains__, seed)


def _innermost(calls: Record, elements: int, seed: int) -> list[Entry]:
    """What is wrong in the innermost composites that are, compared from end to end by themselves."""
    entries: list[Entry] = []
    around: set[int] = set()  # calls that hold a wrong one
    for call in calls.composites:
        if id(call) not in around:
            if not call.wanted and not list(call.module.parameters()):
                continue
            subject = _subject_of(call, seed)
            subject.epsilon = max(subject.epsilon, calls.epsilon())
            faults = [e for e in examine(subject, call.where, elements) if not e.ok]
            if not faults:
                continue
            entries += faults
        if call.inside is not None:
            around.add(id(call.inside))
    return entries


def _left_out(subject: Subject) -> list[str]:
    return [f"Output {i} is a plain tensor outside of the graph: not compared." for i in subject.left_out]


def _possible_causes(calls: Record) -> list[str]:
    reason = (
        "Every primitive is right by itself, and the whole is wrong: on the way a value leaves the graph (.detach(), "
        ".data, a tensor made anew from its numbers), or a primitive keeps on itself what belongs to its call."
    )
    return [reason, *ways_out(calls)]

"""What a workload is, the check that its contestants compute the same, and the clock.

A round times each contestant in turn, and the next round starts with the next contestant: a machine that grows slower
or faster in between does so for all of them. Every round makes its contestants anew from the same start, so that none
keeps a lucky place in memory, and none trains for so long that its optimizer's moments decay into denormal numbers,
which take many times as long. What was compiled is kept: only its state goes back to the start.
"""

from __future__ import annotations

import gc
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from time import perf_counter
from typing import Any

import numpy as np
import torch

Step = Callable[[], Any]  # runs once what is timed; returns the loss, or a loss for each of several steps


class DisagreementError(RuntimeError):
    """The contestants of a workload do not compute the same, so that their times say nothing."""


@dataclass(frozen=True)
class Goal:
    """What a contestant is to reach: how many times as fast as the fastest baseline, with what part of its memory."""

    speed: float
    memory: float | None = None


def nothing() -> None:
    """What most contestants need beforehand."""


@dataclass(frozen=True)
class Contestant:
    """One way to do a workload's work.

    make: starts anew, from the same weights and data as every other contestant of the workload.
    baseline: whether it is one of those whose fastest the others are compared to.
    steps: of training, in one call.
    compiled: whether its first step builds a program, which a cache on disk may keep.
    prepare: loads the data that `make` is given; they are nobody's time and nobody's memory.
    modules: what it imports, so that no import counts as its first step.
    """

    name: str
    make: Callable[[], Step]
    baseline: bool = False
    steps: int = 1
    compiled: bool = False
    goal: Goal | None = None
    prepare: Callable[[], Any] = nothing
    modules: tuple[str, ...] = ()


def _no_weights() -> int:
    return 0


@dataclass(frozen=True)
class Workload:
    """Work that several contestants can do, at least one of them a baseline.

    name: for the command line. title: for the report.
    tolerance: how far apart the contestants' losses may be, absolute.
    agreement: at most so many steps are compared, where a step takes long.
    weights: bytes of the parameters and buffers, that every contestant needs.
    """

    name: str
    title: str
    contestants: Sequence[Contestant]
    tolerance: float = 1e-4
    agreement: int = 20
    weights: Callable[[], int] = _no_weights


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    rounds: how often each contestant is timed. limit: seconds after which no further round begins, so that a busy
    machine costs rounds, not patience; `least` rounds there are in any case. block: seconds that the fastest
    contestant is to take in a round; the others run as many steps. agreement: steps over which the losses are compared.
    """

    rounds: int = 100
    limit: float = 18.0
    block: float = 0.01
    agreement: int = 20
    least: int = 7


FULL = Effort()
QUICK = Effort(rounds=5, limit=1.0, block=0.002, agreement=10, least=1)


@dataclass(frozen=True)
class Start:
    """A contestant's beginning, in a process of its own.

    first: seconds from `make` to the first loss, where a program is built with nothing in the caches.
    memory: bytes at the peak of later steps, above the weights; None where it cannot be measured.
    """

    first: float
    memory: int | None = None


@dataclass(frozen=True)
class Timing:
    """What one contestant took: microseconds a step, one number for each round.

    start: None where only the clock ran. again: as `start.first`, with what was built taken from the cache on disk.
    """

    contestant: str
    baseline: bool
    rounds: tuple[float, ...]
    goal: Goal | None = None
    start: Start | None = None
    again: float | None = None

    @cached_property
    def quartiles(self) -> tuple[float, float, float]:
        """Lower quartile, median, upper quartile, over the rounds."""
        if len(self.rounds) == 1:
            return (self.rounds[0],) * 3
        lower, median, upper = statistics.quantiles(self.rounds, n=4, method="inclusive")
        return lower, median, upper

    @property
    def median(self) -> float:
        return self.quartiles[1]

    @property
    def memory(self) -> int | None:
        return self.start.memory if self.start else None


@dataclass(frozen=True)
class Result:
    """The timings of a workload's contestants, in their order, at one number of threads."""

    workload: str
    title: str
    threads: int
    steps: int  # in a round
    timings: tuple[Timing, ...]

    @property
    def rounds(self) -> int:
        return len(self.timings[0].rounds)

    @cached_property
    def best(self) -> float:
        """The median of the fastest baseline."""
        return min(timing.median for timing in self.timings if timing.baseline)

    @cached_property
    def least(self) -> int | None:
        """The memory of the baseline that needs least."""
        return min((t.memory for t in self.timings if t.baseline and t.memory is not None), default=None)

    def ratio(self, timing: Timing) -> float:
        """How many times as fast as the fastest baseline: above 1 is faster."""
        return self.best / timing.median

    def memory_ratio(self, timing: Timing) -> float | None:
        """The part of the most frugal baseline's memory: below 1 is less. None where that is not known."""
        return timing.memory / self.least if self.least and timing.memory is not None else None


def run_here(workload: Workload, effort: Effort) -> Result:
    """Check and time `workload` in this process, with the threads that it has."""
    again = check(workload, min(effort.agreement, workload.agreement))
    steps, rounds = measure(workload, effort)
    timings = tuple(
        Timing(c.name, c.baseline, tuple(rounds[c.name]), c.goal, again=again.get(c.name)) for c in workload.contestants
    )
    return Result(workload.name, workload.title, torch.get_num_threads(), steps, timings)


def check(workload: Workload, steps: int) -> dict[str, float]:
    """Raise DisagreementError unless every contestant's losses are the first baseline's, over `steps` steps.

    What was compiled is made twice: from its second start it must compute the same. Returns the seconds that each of
    those took, from its first making to the first loss.
    """
    baselines = [contestant for contestant in workload.contestants if contestant.baseline]
    names = [contestant.name for contestant in workload.contestants]
    if not baselines or len(set(names)) != len(names):
        raise ValueError(f"{workload.name}: expected contestants of different names, one a baseline; got {names}")
    expected, _ = _trial(baselines[0], steps)
    if not max(expected) - min(expected) > 10 * workload.tolerance:
        raise DisagreementError(
            f"{workload.name}: over {steps} steps the loss of {baselines[0].name!r} moves from {expected[0]} to "
            f"{expected[-1]}, hardly more than the tolerance of {workload.tolerance}, so a contestant that trains "
            "nothing would pass. Give it a larger step, or a smaller tolerance"
        )
    firsts = {}
    for contestant in workload.contestants:
        found, seconds = _trial(contestant, steps)
        if contestant.compiled:
            firsts[contestant.name] = seconds
            found = [*found, *_trial(contestant, 2)[0]]
        for number, (loss, wanted) in enumerate(zip(found, [*expected, *expected], strict=False), 1):
            if not abs(loss - wanted) <= workload.tolerance:  # so written, because a NaN must fail too
                turn = f"step {number}" if number <= steps else f"step {number - steps}, made a second time,"
                raise DisagreementError(
                    f"{workload.name}: the loss of {contestant.name!r} at {turn} is {loss}, that of "
                    f"{baselines[0].name!r} {wanted}; they may differ by {workload.tolerance}. Nothing was timed"
                )
    return firsts


def _trial(contestant: Contestant, steps: int) -> tuple[list[float], float]:
    """The losses of `steps` steps, and the seconds until the first was there."""
    contestant.prepare()
    start = perf_counter()
    step = contestant.make()
    found = losses(step())
    first = perf_counter() - start
    while len(found) < steps:
        found += losses(step())
    return found[:steps], first


def losses(loss: Any) -> list[float]:
    """What a step returned, as numbers. To read them is to wait until they are computed, on any device."""
    value = loss.detach().tolist() if isinstance(loss, torch.Tensor) else np.asarray(loss).tolist()
    return value if isinstance(value, list) else [value]


def measure(workload: Workload, effort: Effort) -> tuple[int, dict[str, list[float]]]:
    """The number of steps in a block, and for each contestant microseconds a step in each round."""
    gc.collect()
    gc.freeze()  # sets aside what the imports made, which the collections between the blocks would go through each time
    try:
        return _measure(workload, effort)
    finally:
        gc.unfreeze()


def _measure(workload: Workload, effort: Effort) -> tuple[int, dict[str, list[float]]]:
    contestants = list(workload.contestants)
    paces = [_pace(contestant) for contestant in contestants]
    steps = max(1, math.ceil(effort.block / min(paces)))
    warm_up = 1 if min(paces) > LONG else max(3, steps // 10)
    rounds: dict[str, list[float]] = {contestant.name: [] for contestant in contestants}
    start = perf_counter()
    for number in range(effort.rounds):
        if number >= effort.least and perf_counter() - start > effort.limit:
            break
        turn = number % len(contestants)
        for contestant in contestants[turn:] + contestants[:turn]:
            rounds[contestant.name].append(_timed(contestant, warm_up, steps) * 1e6)
    return steps, rounds


LONG = 0.1  # seconds a step, from which on one step is enough to warm up


def _pace(contestant: Contestant) -> float:
    """Seconds a step, roughly."""
    once = _timed(contestant, 1, 1)
    return once if once > LONG else min(_timed(contestant, 5, 1) for _ in range(3))


def _timed(contestant: Contestant, warm_up: int, steps: int) -> float:
    """Seconds a step, of a contestant made anew and warmed up."""
    step = contestant.make()
    gc.collect()  # what the making left behind is not the step's; what the steps leave is, so the collector stays on
    for _ in range(math.ceil(warm_up / contestant.steps)):
        loss = step()
    losses(loss)
    calls = max(1, round(steps / contestant.steps))
    start = perf_counter()
    for _ in range(calls):
        loss = step()
    losses(loss)
    return (perf_counter() - start) / (calls * contestant.steps)

"""What a workload is, the check that its contestants compute the same, and the clock.

A round times each contestant in turn, and the next round starts with the next contestant: a machine that grows slower
or faster in between does so for all of them. Every round makes its contestants anew from the same start, so that none
keeps a lucky place in memory, and none trains for so long that its optimizer's moments decay into denormal numbers,
which take many times as long.
"""

from __future__ import annotations

import gc
import math
import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from multiprocessing import get_context
from time import perf_counter
from typing import Any

import torch

Step = Callable[[], Any]  # runs once what is timed; returns the loss, as anything that `float` takes


class DisagreementError(RuntimeError):
    """The contestants of a workload do not compute the same, so that their times say nothing."""


@dataclass(frozen=True)
class Contestant:
    """One way to do a workload's work.

    make: starts anew, from the same weights and data as every other contestant of the workload.
    baseline: whether it is one of those whose fastest the others are compared to.
    """

    name: str
    make: Callable[[], Step]
    baseline: bool = False


@dataclass(frozen=True)
class Workload:
    """Work that several contestants can do, at least one of them a baseline.

    name: for the command line. title: for the report.
    tolerance: how far apart the contestants' losses may be, absolute.
    """

    name: str
    title: str
    contestants: Sequence[Contestant]
    tolerance: float = 1e-4


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    rounds: how often each contestant is timed. limit: seconds after which no further round begins, so that a busy
    machine costs rounds, not patience. block: seconds that the fastest contestant is to take in a round; the others run
    as many steps. agreement: steps over which the losses are compared beforehand.
    """

    rounds: int = 100
    limit: float = 18.0
    block: float = 0.01
    agreement: int = 20


FULL = Effort()
QUICK = Effort(rounds=5, limit=1.0, block=0.002)


@dataclass(frozen=True)
class Timing:
    """What one contestant took: microseconds a step, one number for each round."""

    contestant: str
    baseline: bool
    rounds: tuple[float, ...]

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

    def ratio(self, timing: Timing) -> float:
        """How many times as fast as the fastest baseline: above 1 is faster."""
        return self.best / timing.median


def run(workload: Workload, effort: Effort, threads: int) -> Result:
    """Check and time `workload` in a process of its own, with this many threads.

    Of its own, because threads once started linger, and memory once taken stays. Raises DisagreementError as `check`.
    """
    with ProcessPoolExecutor(
        max_workers=1, mp_context=get_context("spawn"), initializer=torch.set_num_threads, initargs=(threads,)
    ) as process:
        return process.submit(run_here, workload, effort).result()


def run_here(workload: Workload, effort: Effort) -> Result:
    """Check and time `workload` in this process, with the threads that it has."""
    check(workload, effort.agreement)
    steps, rounds = measure(workload, effort)
    timings = tuple(Timing(c.name, c.baseline, tuple(rounds[c.name])) for c in workload.contestants)
    return Result(workload.name, workload.title, torch.get_num_threads(), steps, timings)


def check(workload: Workload, steps: int) -> None:
    """Raise DisagreementError unless every contestant's losses are the first baseline's, over `steps` steps."""
    baselines = [contestant for contestant in workload.contestants if contestant.baseline]
    names = [contestant.name for contestant in workload.contestants]
    if not baselines or len(set(names)) != len(names):
        raise ValueError(f"{workload.name}: expected contestants of different names, one a baseline; got {names}")
    expected = _losses(baselines[0], steps)
    if not max(expected) - min(expected) > 10 * workload.tolerance:
        raise DisagreementError(
            f"{workload.name}: over {steps} steps the loss of {baselines[0].name!r} moves from {expected[0]} to "
            f"{expected[-1]}, hardly more than the tolerance of {workload.tolerance}, so a contestant that trains "
            "nothing would pass. Give it a larger step, or a smaller tolerance"
        )
    for contestant in workload.contestants:
        for number, (loss, wanted) in enumerate(zip(_losses(contestant, steps), expected, strict=True), 1):
            if not abs(loss - wanted) <= workload.tolerance:  # so written, because a NaN must fail too
                raise DisagreementError(
                    f"{workload.name}: the loss of {contestant.name!r} at step {number} is {loss}, that of "
                    f"{baselines[0].name!r} {wanted}; they may differ by {workload.tolerance}. Nothing was timed"
                )


def _losses(contestant: Contestant, steps: int) -> list[float]:
    step = contestant.make()
    return [_number(step()) for _ in range(steps)]


def _number(loss: Any) -> float:
    return float(loss.detach() if isinstance(loss, torch.Tensor) else loss)


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
    fastest = min(min(_timed(contestant, 5, 1) for _ in range(3)) for contestant in contestants)
    steps = max(1, math.ceil(effort.block / fastest))
    rounds: dict[str, list[float]] = {contestant.name: [] for contestant in contestants}
    start = perf_counter()
    for number in range(effort.rounds):
        if number and perf_counter() - start > effort.limit:
            break
        turn = number % len(contestants)
        for contestant in contestants[turn:] + contestants[:turn]:
            rounds[contestant.name].append(_timed(contestant, max(3, steps // 10), steps) * 1e6)
    return steps, rounds


def _timed(contestant: Contestant, warm_up: int, steps: int) -> float:
    """Seconds a step, of a contestant made anew and warmed up."""
    step = contestant.make()
    gc.collect()  # what the making left behind is not the step's; what the steps leave is, so the collector stays on
    for _ in range(warm_up):
        step()
    start = perf_counter()
    for _ in range(steps):
        step()
    return (perf_counter() - start) / steps

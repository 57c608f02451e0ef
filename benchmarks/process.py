"""A workload in processes of its own: one for each contestant's first step and memory, then one for the clock.

Of their own, because threads once started linger, memory once taken stays, and what was once compiled is kept.
"""

from __future__ import annotations

import gc
import importlib
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from benchmarks.harness import Contestant, Effort, Result, Start, Workload, losses, run_here
from benchmarks.memory import Meter, build, counting, environment, only_here


def run(workload: Workload, effort: Effort, threads: int, alone: bool = True) -> Result:
    """Check and time `workload` with this many threads. Raises DisagreementError as `check`.

    alone: whether each contestant's first step and memory are measured too.
    """
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as name:
        folder = Path(name)
        library = build(folder) if alone else None
        starts = {}
        for contestant in workload.contestants if alone else []:
            cache = folder / str(len(starts))
            variables = {**caches(cache), **counting(library)}
            starts[contestant.name] = _apart(threads, variables, begin, contestant, workload.weights)
            if cache.exists():  # hands on what was built, to be found by the process of the clock
                shutil.copytree(cache, folder / "all", dirs_exist_ok=True)
        result = _apart(threads, caches(folder / "all"), timed, workload, effort)
    if not alone:
        return replace(result, timings=tuple(replace(timing, again=None) for timing in result.timings))
    return replace(result, timings=tuple(replace(t, start=starts[t.contestant]) for t in result.timings))


def caches(folder: Path) -> dict[str, str]:
    """Where PyTorch and modgrad keep what they compiled."""
    return {"TORCHINDUCTOR_CACHE_DIR": str(folder), "MODGRAD_CACHE": str(folder / "modgrad")}


def _apart(threads: int, variables: dict[str, str], function: Callable[..., Any], *arguments: Any) -> Any:
    """function(*arguments), by a new process with so many threads and these environment variables."""
    of_jax = {
        "NPROC": str(threads),  # the size of XLA's pool
        "XLA_FLAGS": f"--xla_cpu_multi_thread_eigen={str(threads > 1).lower()}",
        "JAX_PLATFORMS": "cpu",
    }
    with (
        environment({**of_jax, **variables}),
        ProcessPoolExecutor(1, get_context("spawn"), initializer=_set_up, initargs=(threads,)) as process,
    ):
        return process.submit(function, *arguments).result()


def _set_up(threads: int) -> None:
    only_here()
    torch.set_num_threads(threads)


def begin(contestant: Contestant, weights: Callable[[], int]) -> Start:
    """The contestant's first step, and the memory of later ones, in this process, which has done nothing else."""
    _import(contestant)
    contestant.prepare()
    needed = weights()
    meter = Meter()
    gc.collect()
    before = meter.live()
    start = perf_counter()
    step = contestant.make()
    losses(step())
    first = perf_counter() - start
    losses(step())
    meter.reset()
    for _ in range(2):
        losses(step())
    peak = meter.peak()
    return Start(first, None if peak is None or before is None else peak - before - needed)


def timed(workload: Workload, effort: Effort) -> Result:
    """The clock, with everything imported that anybody needs."""
    for contestant in workload.contestants:
        _import(contestant)
    return run_here(workload, effort)


def _import(contestant: Contestant) -> None:
    for name in contestant.modules:
        importlib.import_module(name)

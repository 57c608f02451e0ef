"""python -m benchmarks: measure, print the tables, write docs/benchmarks.md."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import torch

from benchmarks import WORKLOADS, workloads
from benchmarks.harness import FULL, QUICK, DisagreementError, Workload
from benchmarks.process import run
from benchmarks.report import page, refusal, section, sections_of

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
THREADS = [1, 2]


def main(arguments: Sequence[str]) -> None:
    options = parse(arguments)
    effort = QUICK if options.quick else FULL
    refused = 0
    found = workloads(options.device)
    before = sections_of(options.output) if options.only else {}  # what is not measured now stays as it is
    sections: dict[str, str] = {}
    if options.list:
        sys.stdout.writelines(f"{name:15} {workload.title}\n" for name, workload in found.items())
        return
    if options.hold:
        hold(found[options.only[0]], options.hold, options.threads[0])
        return
    for name in options.only or found:
        first = options.threads[0]
        load = os.getloadavg()[0]
        try:
            results = [run(found[name], effort, threads, alone=threads == first) for threads in options.threads]
            sections[name] = section(results, load)
        except DisagreementError as error:
            sections[name] = refusal(found[name], error)
            refused += 1
        sys.stdout.write(sections[name] + "\n")
        sys.stdout.flush()
        if options.output is not None:  # at once: a later workload may end the run
            options.output.parent.mkdir(parents=True, exist_ok=True)
            told = {**before, **sections}
            options.output.write_text(page([told[name] for name in found if name in told], effort))
    if options.output is None:
        sys.stdout.write(f"Nothing was written. Into {PAGE.name}: --update; elsewhere: --output FILE\n")
    else:
        sys.stdout.write(f"Written: {options.output}\n")
    if refused:
        raise SystemExit(f"{refused} of the workloads could not be measured")


def hold(workload: Workload, name: str, threads: int, seconds: float = 20.0) -> None:
    """Run one contestant alone for so long, for a profiler to look at."""
    named = {contestant.name: contestant for contestant in workload.contestants}
    if name not in named:
        raise SystemExit(f"--hold {name!r}: {workload.name} has {', '.join(map(repr, named))}")
    torch.set_num_threads(threads)
    step = named[name].make()
    step()
    sys.stdout.write(f"{name}, process {os.getpid()}\n")
    sys.stdout.flush()
    end = perf_counter() + seconds
    while perf_counter() < end:
        step()


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options. `output` is None where nothing is to be written."""
    parser = argparse.ArgumentParser("python -m benchmarks", description="Times modgrad beside what else there is.")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=WORKLOADS, help="see --list")
    parser.add_argument("--list", action="store_true", help="say what there is to measure, and stop")
    parser.add_argument("--quick", action="store_true", help="a few runs, to see that everything works")
    parser.add_argument("--threads", nargs="+", type=_count, default=THREADS, metavar="N", help="default: 1 2")
    parser.add_argument("--hold", metavar="CONTESTANT", help="run the one of this name alone for 20 s, for a profiler")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"], help="cuda: in bfloat16 where it matters")
    parser.add_argument("--output", type=Path, metavar="FILE", help=f"default: docs/{PAGE.name}, if all is measured")
    parser.add_argument("--update", action="store_true", help=f"write what --only measures into docs/{PAGE.name}")
    options = parser.parse_args(arguments)
    if options.hold and len(options.only or ()) != 1:
        parser.error("--hold CONTESTANT: name its workload with --only")
    fit = not options.quick and options.device == "cpu"  # for the page in docs
    if options.update and not fit:
        parser.error(f"--update: docs/{PAGE.name} is for the CPU, measured in earnest. Write --output FILE")
    if options.output is None and fit and (options.update or not options.only):
        options.output = PAGE
    return options


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1 thread, got {number}")
    return number


if __name__ == "__main__":
    main(sys.argv[1:])

"""The tables: each result's rows, for the terminal and, with machine and versions, as the page docs/benchmarks.md."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

import torch

import modgrad
from benchmarks.harness import Effort, Result, Timing

# Heading and cell of each column. What is to be told of further results joins here.
COLUMNS: list[tuple[str, Callable[[Result, Timing], str]]] = [
    ("threads", lambda result, timing: str(result.threads)),
    ("contestant", lambda result, timing: timing.contestant),
    ("µs a step", lambda result, timing: _microseconds(timing.median)),
    ("quartiles", lambda result, timing: " - ".join(_microseconds(timing.quartiles[i]) for i in (0, 2))),
    ("times PyTorch's best", lambda result, timing: _ratio(result.ratio(timing), timing.baseline)),
]


def _microseconds(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}"


def _ratio(value: float, baseline: bool) -> str:
    """The ratio; where a contestant loses to what it is compared to, in words too."""
    return f"{value:.2f}" if baseline or round(value, 2) >= 1 else f"{value:.2f} (slower)"


def rows(results: Sequence[Result]) -> list[list[str]]:
    """The headings, then a row for each contestant of each result."""
    cells = [[cell(result, timing) for _, cell in COLUMNS] for result in results for timing in result.timings]
    return [[heading for heading, _ in COLUMNS], *cells]


def table(results: Sequence[Result]) -> str:
    """The results of one workload as a table of Markdown, aligned so that a terminal shows it too."""
    lines = rows(results)
    widths = [max(len(line[i]) for line in lines) for i in range(len(COLUMNS))]
    head, *body = ["| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines]
    return "\n".join([head, "| " + " | ".join("-" * width for width in widths) + " |", *body])


def section(results: Sequence[Result]) -> str:
    """The results of one workload, at one number of threads each, under its title."""
    runs = (f"{_several(r.threads, 'thread')}: {r.rounds} rounds of {_several(r.steps, 'step')}" for r in results)
    return f"## {results[0].title}\n`--only {results[0].workload}`. {'; '.join(runs)}.\n\n{table(results)}\n"


def _several(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def machine() -> list[tuple[str, str]]:
    """What the numbers were measured on."""
    return [
        ("Processor", f"{processor()}, {os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}"),
        ("Python", platform.python_version()),
        ("torch", torch.__version__),
        ("modgrad", modgrad.__version__),
        ("Date", date.today().isoformat()),
    ]


def processor(information: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's model."""
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def page(sections: Sequence[Sequence[Result]], effort: Effort, command: str, load: float) -> str:
    """docs/benchmarks.md. sections: the results of each workload. load: of the machine, before the first of them."""
    facts = [*machine(), ("Load before", f"{load:.2f}"), ("Command", f"`{command}`")]
    parts = [
        "# Benchmarks",
        "Written by `python -m benchmarks` (`make bench`), not by hand.",
        "\n".join(["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in facts)]),
        "Median and quartiles over the rounds, by `time.perf_counter`. In each round every contestant starts anew "
        "from the same weights and data, warms up, and runs one block of steps; their order rotates from round to "
        f"round. Before the clock starts, all have computed the same losses over {effort.agreement} steps.",
        "The last column is the time of PyTorch's fastest row over the row's own time, at the same number of threads: "
        "above 1 is faster than PyTorch. "
        "*written by hand* is the same step as a row of ATen kernels, without a graph: what eager code can reach.",
        *map(section, sections),
    ]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"

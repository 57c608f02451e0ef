"""The tables: each result's rows, for the terminal and, with machine and versions, as the page docs/benchmarks.md."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from datetime import date
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import torch

import modgrad
from benchmarks.harness import Effort, Result, Timing, Workload

# Heading and cell of each column. What is to be told of further results joins here.
COLUMNS: list[tuple[str, Callable[[Result, Timing], str]]] = [
    ("threads", lambda result, timing: str(result.threads)),
    ("contestant", lambda result, timing: timing.contestant),
    ("µs a step", lambda result, timing: _microseconds(timing.median)),
    ("quartiles", lambda result, timing: " - ".join(_microseconds(timing.quartiles[i]) for i in (0, 2))),
    ("times PyTorch's best", lambda result, timing: _ratio(result.ratio(timing), timing)),
    ("memory", lambda result, timing: _bytes(timing.memory)),
    ("of PyTorch's least", lambda result, timing: _part(result.memory_ratio(timing), timing)),
    ("first step", lambda result, timing: _seconds(timing.start.first if timing.start else None)),
    ("from cache", lambda result, timing: _seconds(timing.again)),
]


def _microseconds(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}"


def _ratio(value: float, timing: Timing) -> str:
    """The ratio, beside the goal; where a contestant loses to what it is compared to, in words too."""
    words = f"{value:.2f}" if timing.baseline or round(value, 2) >= 1 else f"{value:.2f} (slower)"
    return f"{words}, goal {timing.goal.speed:g}" if timing.goal else words


def _part(value: float | None, timing: Timing) -> str:
    if value is None:
        return "-"
    words = f"{value:.2f}" if timing.baseline or round(value, 2) <= 1 else f"{value:.2f} (more)"
    return f"{words}, goal {timing.goal.memory:g}" if timing.goal and timing.goal.memory else words


def _bytes(value: int | None) -> str:
    if value is None:
        return "-"
    return f"{value / 1e6:,.1f} MB" if value >= 1e6 else f"{value / 1e3:.1f} kB"


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1f} s" if value >= 1 else f"{value * 1e3:.0f} ms"


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


def section(results: Sequence[Result], load: float) -> str:
    """The results of one workload, at one number of threads each, under its title. load: of the machine, before."""
    runs = (f"{_several(r.threads, 'thread')}: {r.rounds} rounds of {_several(r.steps, 'step')}" for r in results)
    when = f"`--only {results[0].workload}`, {date.today().isoformat()}, load before {load:.2f}"
    return f"## {results[0].title}\n{when}. {'; '.join(runs)}.\n\n{table(results)}\n"


def sections_of(path: Path | None) -> dict[str, str]:
    """What a page that was written here tells of each workload, by name."""
    if path is None or not path.exists():
        return {}
    _, *parts = path.read_text().split("\n## ")
    return {part.split("`--only ", 1)[1].split("`", 1)[0]: f"## {part}" for part in parts}


def _several(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def machine() -> list[tuple[str, str]]:
    """What the numbers were measured on, and with what."""
    jax = metadata.version("jax") if find_spec("jax") else "not installed, its rows are left out"
    gpu = [("GPU", torch.cuda.get_device_name())] if torch.cuda.is_available() else []
    return [
        ("Processor", f"{processor()}, {os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}"),
        *gpu,
        ("Python", platform.python_version()),
        ("torch", torch.__version__),
        ("JAX", jax),
        ("modgrad", modgrad.__version__),
    ]


def processor(information: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's model."""
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def refusal(workload: Workload, error: Exception) -> str:
    """What stands in the place of a workload's results where there are none."""
    return f"## {workload.title}\n`--only {workload.name}`. Not measured: {error}\n"


def page(sections: Sequence[str], effort: Effort) -> str:
    """docs/benchmarks.md. sections: what is told of each workload."""
    parts = [
        "# Benchmarks",
        "Written by `python -m benchmarks` (`make bench` for all); each section says when it was measured.",
        "\n".join(["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in machine())]),
        HOW.format(agreement=effort.agreement),
        *sections,
    ]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


HOW = """\
**Time.** Median and quartiles over the rounds, by `time.perf_counter`. In each round every contestant starts anew \
from the same weights and data (what was compiled keeps its program), warms up, and runs one block of steps; their \
order rotates from round to round. Before the clock starts, all have computed the same losses within 1e-4 over up to \
{agreement} steps (fewer where a step takes long), and what was compiled once more from a second start. *Times \
PyTorch's best* is the time of PyTorch's fastest eager row over the row's own, at the same number of threads: above 1 \
is faster than PyTorch eager. *Goal* is what modgrad is to reach. [Why it was, or was not](performance.md).

**Memory** is the peak of a step above the weights: activations, gradients, the optimizer's moments, temporaries. \
Each contestant runs in a process of its own, in which all blocks that hold arrays are counted exactly, to the byte \
(`benchmarks/memory.py`); the data do not count. *Of PyTorch's least*: beside PyTorch's eager row with least memory, \
below 1 is less.

**First step** is from making model and optimizer to the first loss, in that process, imports done; what is compiled \
finds its caches empty. *From cache*: the same with the compiler's cache on disk filled, in the process of the \
clock. JAX keeps no cache unless asked, and compiles again; what is exported is exported again. Memory and first step \
are measured at the first number of threads.

The rows. *fused=True* and the like: PyTorch eager with this setting of its optimizer. *Compiled model and \
optimizer*: `torch.compile` of model and loss, `backward`, `torch.compile` of the optimizer's step. *Compiled whole \
step*: one `torch.compile` of `functional_call`, `torch.func.grad_and_value` and the update; not for the LSTM, since \
`torch.compile` does not take `torch.nn.LSTM` apart. *Onnxruntime*: the step exported as ONNX, run by modgrad's \
client; packed: its state in few flat tensors; scan: ten steps in a loop within the graph. *JAX*: hand-written models, \
`jit` with donated buffers, `lax.scan` over 10 steps; there is none for the convolutional nets and the large GPT. \
*Matmul precision \
medium* allows PyTorch to round to bfloat16 within products, which on this kind of processor means another library for \
them and, where it has no such units, no rounding. PyTorch's \
*LinearCrossEntropyLoss* works in chunks of 128 tokens. *Written by hand* is the same step as a row of ATen kernels, \
without a graph: what eager code can reach.
"""

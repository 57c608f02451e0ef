"""The benchmarks: that they refuse to time what differs, and report every contestant. Never how long anything took."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks import WORKLOADS, __main__, convolution, gpt, memory, mlp, recurrent
from benchmarks.contestants import of_modgrad
from benchmarks.harness import (
    Contestant,
    DisagreementError,
    Effort,
    Goal,
    Result,
    Start,
    Step,
    Timing,
    Workload,
    check,
    measure,
    run_here,
)
from benchmarks.process import begin
from benchmarks.report import page, processor, rows, section, sections_of
from benchmarks.training import prepare, start, weights

TINY = Effort(rounds=3, block=1e-5, agreement=20)
GOALS = Goal(2.0), Goal(7.0)
COMPILED = ("modgrad, compiled", "modgrad, compiled, 10 steps a call")
WIDTHS = (4, 6, 8, 10)
SIZE = gpt.Size(layers=2, heads=2, width=8, context=5, vocabulary=1001)


def tiny_mlp(rule: str = "Adam", sizes: tuple[int, ...] = (2, 5, 5, 2)) -> Workload:
    return mlp.workload("tiny", sizes, 10, rule, 0.01, *GOALS)


FAMILIES: dict[str, Callable[[], Workload]] = {
    "SGD": partial(tiny_mlp, "SGD"),
    "Adam": tiny_mlp,
    "one layer": partial(tiny_mlp, sizes=(3, 4)),
    "convolution": lambda: convolution.workload(
        "tiny", "ResNet", partial(convolution.resnet18, widths=WIDTHS), 4, {"channels_last": True}, agreement=3
    ),
    "lstm": lambda: recurrent.workload("tiny", 5, 3),
    "gpt": lambda: gpt.workload("tiny", SIZE, 2, *GOALS),
}


def only(workload: Workload, wanted: Callable[[Contestant], bool]) -> Workload:
    return replace(workload, contestants=[c for c in workload.contestants if c.baseline or wanted(c)])


def uncompiled(workload: Workload) -> Workload:
    return only(workload, lambda contestant: not contestant.compiled)


def descent(name: str, factor: float = 0.9, baseline: bool = False) -> Contestant:
    """Its losses are 1, `factor`, `factor` squared, ..."""

    def make() -> Step:
        steps = count()
        return lambda: factor ** next(steps)

    return Contestant(name, make, baseline)


@pytest.mark.parametrize("family", FAMILIES)
def test_contestants_agree_and_are_all_timed(family: str) -> None:
    tiny = uncompiled(FAMILIES[family]())
    result = run_here(tiny, TINY)
    assert [timing.contestant for timing in result.timings] == [c.name for c in tiny.contestants]
    assert all(len(timing.rounds) == 3 and min(timing.rounds) > 0 for timing in result.timings)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # from what torch.compile imports of its own
@pytest.mark.parametrize("family", ["SGD", "Adam", "convolution", "gpt"])
def test_compiled_contestants_agree_from_every_start(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.compile without the C++ compiler, which takes as long as everything else together."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", False)
    torch.compiler.reset()
    tiny = replace(only(FAMILIES[family](), lambda contestant: "PyTorch" in contestant.name), tolerance=1e-5)
    assert {"PyTorch, compiled whole step", "PyTorch, compiled model and optimizer"} == check(tiny, 3).keys()


def test_modgrads_compiled_rows_follow_the_training_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """`TrainingStep(model, criterion, optimizer).compile(steps=K)`, given stacked batches, gives K losses.

    The real one compiles for as long as all tests here together.
    """

    class TrainingStep:
        def __init__(self, model: Any, criterion: Any, optimizer: Any) -> None:
            self.parts = model, criterion, optimizer

        def compile(self, steps: int) -> Callable[..., torch.Tensor]:
            def one(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
                model, criterion, optimizer = self.parts
                optimizer.zero_grad()
                loss = criterion(model(x), y)
                loss.backward()
                optimizer.step()
                return loss.detach()

            return one if steps == 1 else lambda x, y: torch.stack([one(*batch) for batch in zip(x, y, strict=True)])

    monkeypatch.setitem(sys.modules, "modgrad.step", SimpleNamespace(TrainingStep=TrainingStep))
    assert len(of_modgrad(mlp.task((2, 3, 2), 5, "Adam", 0.01), *GOALS)) == 3
    tiny = only(tiny_mlp(), lambda contestant: contestant.name in ("modgrad", *COMPILED))
    assert len(check(tiny, 20)) == 2  # from two starts
    assert run_here(tiny, TINY).timings[2].contestant == "modgrad, compiled, 10 steps a call"


@pytest.mark.parametrize("family", ["Adam", pytest.param("convolution", marks=pytest.mark.thorough)])
def test_exported_rows_agree_from_every_start(family: str) -> None:
    pytest.importorskip("onnxruntime")
    workload = WORKLOADS["conv-bn"] if family == "convolution" else tiny_mlp()
    exported = check(only(workload, lambda contestant: "onnxruntime" in contestant.name), 20 if family == "Adam" else 3)
    assert [name.removeprefix("modgrad, onnxruntime") for name in exported] == [
        *("", ", packed", ", packed, scan, 10 steps a call"),
    ]


@pytest.mark.parametrize("name", [name for name in WORKLOADS if name not in ("resnet18", "gpt")])
def test_the_workloads_of_the_report_agree(name: str) -> None:
    check(
        uncompiled(WORKLOADS[name]),
        10 if name.startswith(("mlp-sgd", "mlp-adam", "policy")) else 3,
    )


def test_what_does_not_go_back_to_its_start_is_refused() -> None:
    step = descent("modgrad").make()
    drifting = Contestant("modgrad", lambda: step, compiled=True)
    with pytest.raises(DisagreementError, match="at step 1, made a second time, is"):
        check(Workload("toy", "", [drifting, descent("PyTorch", baseline=True)]), 20)


@pytest.mark.parametrize("factor", [0.899, 1.0, float("nan")])
def test_a_contestant_that_computes_something_else_is_refused(factor: float) -> None:
    bad = Workload("toy", "", [descent("modgrad", factor), descent("PyTorch", baseline=True)])
    with pytest.raises(DisagreementError, match="'modgrad' at step .* Nothing was timed"):
        run_here(bad, TINY)


def test_a_loss_that_stands_still_shows_nothing() -> None:
    still = Workload("toy", "", [descent("modgrad", 0.99999), descent("PyTorch", 0.99999, baseline=True)])
    with pytest.raises(DisagreementError, match="hardly more than the tolerance"):
        check(still, 20)


@pytest.mark.parametrize(
    "contestants",
    [[descent("modgrad")], [descent("same", baseline=True), descent("same")]],
    ids=["no baseline", "a name twice"],
)
def test_a_workload_that_cannot_be_reported_is_refused(contestants: list[Contestant]) -> None:
    with pytest.raises(ValueError, match="different names, one a baseline"):
        check(Workload("toy", "", contestants), 20)


def test_every_round_times_each_once_in_rotated_order_from_a_fresh_start() -> None:
    made: list[str] = []

    def contestant(name: str) -> Contestant:
        def make():
            made.append(name)
            return lambda: torch.zeros(())

        return Contestant(name, make)

    measure(Workload("toy", "", [contestant(name) for name in "abc"]), TINY)
    assert "".join(made[-9:]) == "abc" + "bca" + "cab"


def test_no_round_begins_after_the_limit() -> None:
    toy = Workload("toy", "", [descent("modgrad"), descent("PyTorch", baseline=True)])
    assert run_here(toy, Effort(rounds=100, limit=0.0, block=1e-5, least=2)).rounds == 2


@pytest.mark.skipif(shutil.which("cc") is None or not sys.platform.startswith("linux"), reason="a C compiler on Linux")
def test_memory_is_counted_to_the_byte(tmp_path: Path) -> None:
    """Of tensors, and of what kernels take for themselves; not of Python's objects, nor in processes started by it."""
    program = """
import os, numpy, torch
from benchmarks.memory import Meter, only_here
only_here()
assert "LD_PRELOAD" not in os.environ
meter = Meter()
a = torch.ones(1000, 1000)
before = meter.live()
meter.reset()
b, c = a + 1, torch.empty(10)  # 4,000,000 and 40 bytes
assert meter.live() == meter.peak() == before + 4_000_040, (meter.live(), before)
del b
objects, array = [object() for _ in range(100_000)], numpy.ones(100_000)
assert meter.live() == before + 40, meter.live() - before
meter.reset()
(a + a).add(1).sum().item()  # two at a time, and a sum
assert before + 8_000_044 <= meter.peak() <= before + 8_000_200, meter.peak() - before
many = [torch.empty(n) for n in range(10_000)]
del many[::2]
del many, c
assert meter.live() == before, meter.live() - before
"""
    if find_spec("jax"):
        program += """
import jax, jax.numpy as jnp
a = jnp.ones((1000, 1000)).block_until_ready()
before = meter.live()
b = (a + 1).block_until_ready()
assert before + 4_000_000 <= meter.live() < before + 4_010_000, meter.live() - before  # and a little for itself
"""
    library = memory.build(tmp_path)
    with memory.environment(memory.counting(library)):
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_without_a_counter_memory_is_not_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert memory.build(tmp_path) is None
    assert memory.counting(None) == {}
    first = begin(descent("toy"), lambda: 0)
    assert first.first > 0
    assert first.memory is None


def test_what_is_shared_weighs_once() -> None:
    tiny = gpt.workload("tiny", SIZE, 2, *GOALS)
    model = gpt.gpt(SIZE, True, torch.nn)
    assert tiny.weights() == 4 * sum(parameter.numel() for parameter in model.parameters())
    task = mlp.task((3, 4), 5, "SGD", 0.1)
    prepare(task, 10)
    assert weights(task) == sum(value.nbytes for value in start(task).values()) == 64


def result(workload: str, threads: int, **medians: float) -> Result:
    def timing(name: str, m: float) -> Timing:
        goal = Goal(2.0, memory=0.5) if name == "modgrad" else None
        return Timing(name, name.startswith("PyTorch"), (m - 1, m, m + 1), goal, Start(m / 10, int(m * 1000)), m / 100)

    return Result(workload, f"Title of {workload}", threads, 10, tuple(timing(*pair) for pair in medians.items()))


def test_ratios_are_to_the_fastest_baseline_and_losing_is_said() -> None:
    one, two = result("a", 1, modgrad=10, PyTorch_a=15, PyTorch_b=20), result("a", 2, modgrad=3000, PyTorch_a=15)
    assert rows([one, two])[1:] == [
        ["1", "modgrad", "10.0", "9.5 - 10.5", "1.50, goal 2", "10.0 kB", "0.67, goal 0.5", "1.0 s", "100 ms"],
        ["1", "PyTorch_a", "15.0", "14.5 - 15.5", "1.00", "15.0 kB", "1.00", "1.5 s", "150 ms"],
        ["1", "PyTorch_b", "20.0", "19.5 - 20.5", "0.75", "20.0 kB", "1.33", "2.0 s", "200 ms"],
        [
            *("2", "modgrad", "3,000", "3,000 - 3,000", "0.01 (slower), goal 2"),
            *("3.0 MB", "200.00 (more), goal 0.5", "300.0 s", "30.0 s"),
        ],
        ["2", "PyTorch_a", "15.0", "14.5 - 15.5", "1.00", "15.0 kB", "1.00", "1.5 s", "150 ms"],
    ]


def test_what_was_not_measured_is_a_dash() -> None:
    timing = Timing("PyTorch", True, (1.0,))
    assert rows([Result("a", "", 1, 10, (timing,))])[1][5:] == ["-", "-", "-", "-"]


def test_the_page_has_every_row_and_the_machine() -> None:
    sections = [[result("a", 1, modgrad=10, PyTorch=12)], [result("b", t, modgrad=30, PyTorch=20) for t in (1, 2)]]
    text = page([section(results, 0.5) for results in sections], TINY)
    assert text.count("| modgrad ") == text.count("| PyTorch ") + 1 == 4  # one more: modgrad's version
    for part in (torch.__version__, processor(), "load before 0.50", "Title of a", "Title of b", "0.67 (slower)"):
        assert part in text
    assert ("its rows are left out" in text) == (find_spec("jax") is None)


def test_processor_is_named_where_there_is_no_cpuinfo(tmp_path: Path) -> None:
    assert processor(tmp_path / "absent")
    (tmp_path / "cpuinfo").write_text("flags : fpu\nmodel name\t: Abacus 9\n")
    assert processor(tmp_path / "cpuinfo") == "Abacus 9"


def test_the_command_writes_a_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the processes that `run` starts, with one thread and then, without starts, with two."""
    few = ("modgrad", "PyTorch, fused=True")
    small = replace(tiny_mlp(), contestants=[c for c in tiny_mlp().contestants if c.name in few])
    monkeypatch.setattr(__main__, "workloads", lambda device: {"mlp-sgd": small})
    output = tmp_path / "new" / "page.md"
    command = ["--quick", "--only", "mlp-sgd", "--threads", "1", "2", "--output", str(output)]
    __main__.main(command)
    printed = capsys.readouterr().out
    for contestant in small.contestants:
        for text in (printed, output.read_text()):
            for threads in (1, 2):
                assert f"| {threads}       | {contestant.name} " in text
    if sys.platform.startswith("linux") and shutil.which("cc"):
        assert printed.count(" kB ") == len(small.contestants)


def test_a_workload_that_disagrees_does_not_end_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise DisagreementError("the loss of 'modgrad' at step 2 is 3, that of 'PyTorch' 4")

    monkeypatch.setattr(__main__, "run", refuse)
    output = tmp_path / "page.md"
    with pytest.raises(SystemExit, match="2 of the workloads"):
        __main__.main(["--quick", "--only", "mlp-sgd", "mlp-adam", "--output", str(output)])
    assert output.read_text().count("Not measured: the loss of 'modgrad' at step 2") == 2
    assert capsys.readouterr().out.count("Not measured") == 2


def test_the_command_lists_the_workloads(capsys: pytest.CaptureFixture[str]) -> None:
    __main__.main(["--list"])
    printed = capsys.readouterr().out
    assert all(f"{name} " in printed and workload.title in printed for name, workload in WORKLOADS.items())


def test_what_is_not_measured_anew_stays_on_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "page.md"
    medians = {"modgrad": 10, "PyTorch": 12}
    names = ["policy-1", "mlp-sgd", "conv"]
    path.write_text(page([section([result(name, 1, **medians)], 0.25) for name in names], TINY))
    monkeypatch.setattr(__main__, "run", lambda workload, *_, **__: result(workload.name, 1, modgrad=77, PyTorch=12))
    __main__.main(["--quick", "--only", "conv", "mlp-adam", "--threads", "1", "--output", str(path)])
    told = sections_of(path)
    assert list(told) == ["mlp-sgd", "mlp-adam", "policy-1", "conv"]
    assert ["77.0" in told[name] for name in told] == [False, True, False, True]
    assert all("load before 0.25" in told[name] for name in ("mlp-sgd", "policy-1"))
    assert sections_of(tmp_path / "absent") == {}


def test_what_is_written_into_docs() -> None:
    for all_of_it in ([], ["--threads", "1"], ["--only", "mlp-sgd", "--update"]):
        assert __main__.parse(all_of_it).output == __main__.PAGE
    for partly in (["--quick"], ["--only", "mlp-sgd"], ["--device", "cuda"]):
        assert __main__.parse(partly).output is None
    for wrong in (["--only", "mpl"], ["--threads", "0"], ["--quick", "--update"]):
        with pytest.raises(SystemExit):
            __main__.parse(wrong)


def test_hold_runs_one_alone(capsys: pytest.CaptureFixture[str]) -> None:
    __main__.hold(WORKLOADS["policy-1"], "modgrad", threads=torch.get_num_threads(), seconds=0.01)
    assert "modgrad, process" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="policy-1 has 'modgrad'"):
        __main__.hold(WORKLOADS["policy-1"], "modgard", threads=1)

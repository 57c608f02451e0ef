"""The benchmarks: that they refuse to time what differs, and report every contestant. Never how long anything took."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest
import torch

from benchmarks import WORKLOADS, __main__
from benchmarks.harness import (
    Contestant,
    DisagreementError,
    Effort,
    Result,
    Step,
    Timing,
    Workload,
    check,
    measure,
    run_here,
)
from benchmarks.mlp import Task, workload
from benchmarks.report import page, processor, rows

TINY = Effort(rounds=3, block=1e-5, agreement=20)


def descent(name: str, factor: float = 0.9, baseline: bool = False) -> Contestant:
    """Its losses are 1, `factor`, `factor` squared, ..."""

    def make() -> Step:
        steps = count()
        return lambda: factor ** next(steps)

    return Contestant(name, make, baseline)


@pytest.mark.parametrize("rule", ["SGD", "Adam"])
@pytest.mark.parametrize("sizes", [(2, 5, 5, 2), (3, 4), (7, 6, 5)])
def test_contestants_agree_and_are_all_timed(sizes: tuple[int, ...], rule: str) -> None:
    tiny = workload("tiny", Task(sizes, batch=10, rule=rule, lr=0.01))
    result = run_here(tiny, TINY)
    assert [timing.contestant for timing in result.timings] == [c.name for c in tiny.contestants]
    assert all(len(timing.rounds) == 3 and min(timing.rounds) > 0 for timing in result.timings)


@pytest.mark.parametrize("name", WORKLOADS)
def test_the_workloads_of_the_report_agree(name: str) -> None:
    check(WORKLOADS[name], 2 if name == "vocabulary" else 3 if "wide" in name else 20)


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
    assert run_here(toy, Effort(rounds=100, limit=0.0, block=1e-5)).rounds == 1


def result(workload: str, threads: int, **medians: float) -> Result:
    timings = (Timing(name, name.startswith("PyTorch"), (m - 1, m, m + 1)) for name, m in medians.items())
    return Result(workload, f"Title of {workload}", threads, 10, tuple(timings))


def test_ratios_are_to_the_fastest_baseline_and_losing_is_said() -> None:
    one, two = result("a", 1, modgrad=10, PyTorch_a=15, PyTorch_b=20), result("a", 2, modgrad=3000, PyTorch_a=15)
    assert rows([one, two])[1:] == [
        ["1", "modgrad", "10.0", "9.5 - 10.5", "1.50"],
        ["1", "PyTorch_a", "15.0", "14.5 - 15.5", "1.00"],
        ["1", "PyTorch_b", "20.0", "19.5 - 20.5", "0.75"],
        ["2", "modgrad", "3,000", "3,000 - 3,000", "0.01 (slower)"],
        ["2", "PyTorch_a", "15.0", "14.5 - 15.5", "1.00"],
    ]


def test_the_page_has_every_row_the_machine_and_the_command() -> None:
    sections = [[result("a", 1, modgrad=10, PyTorch=12)], [result("b", t, modgrad=30, PyTorch=20) for t in (1, 2)]]
    text = page(sections, TINY, "python -m benchmarks", load=0.5)
    assert text.count("| modgrad ") == text.count("| PyTorch ") + 1 == 4  # one more: modgrad's version
    for part in (torch.__version__, processor(), "`python -m benchmarks`", "Title of a", "Title of b", "0.67 (slower)"):
        assert part in text


def test_processor_is_named_where_there_is_no_cpuinfo(tmp_path: Path) -> None:
    assert processor(tmp_path / "absent")
    (tmp_path / "cpuinfo").write_text("flags : fpu\nmodel name\t: Abacus 9\n")
    assert processor(tmp_path / "cpuinfo") == "Abacus 9"


def test_the_command_writes_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Through the process that `run` starts, with one thread."""
    output = tmp_path / "new" / "page.md"
    command = ["--quick", "--only", "mlp-sgd", "--threads", "1", "--output", str(output)]
    __main__.main(command)
    printed = capsys.readouterr().out
    for contestant in WORKLOADS["mlp-sgd"].contestants:
        for text in (printed, output.read_text()):
            assert f"| 1       | {contestant.name} " in text
    assert f"`python -m benchmarks {' '.join(command)}`" in output.read_text()


def test_only_complete_runs_write_the_page_in_docs() -> None:
    assert __main__.parse([]).output == __main__.PAGE
    for partly in (["--quick"], ["--only", "mlp-sgd"], ["--threads", "1"]):
        assert __main__.parse(partly).output is None
    for wrong in (["--only", "mpl"], ["--threads", "0"]):
        with pytest.raises(SystemExit):
            __main__.parse(wrong)

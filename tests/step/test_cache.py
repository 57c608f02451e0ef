"""Entries on disk: found by content, whole or not at all."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from modgrad import nn, optim
from modgrad.step import TrainingStep, cache
from modgrad.step.binding import Binding
from modgrad.step.dryrun import dry_run
from tests.step.models import perceptron, points


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("MODGRAD_CACHE", str(tmp_path / "programs"))
    return tmp_path / "programs"


def make(folder: Path) -> dict[str, Any]:
    (folder / "step.so").write_text("machine code")
    return {"from": 2}


def refuse(folder: Path) -> dict[str, Any]:
    raise AssertionError("it is there already")


def test_where_it_is(monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path) -> None:
    assert cache.folder() == folder
    monkeypatch.delenv("MODGRAD_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.folder() == tmp_path / "xdg" / "modgrad"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.folder() == Path.home() / ".cache" / "modgrad"


def test_made_once(folder: Path) -> None:
    entry, about, there = cache.find_or_make("abc", make)
    assert (entry, about, there) == (folder / "abc", {"from": 2}, False)
    assert cache.find_or_make("abc", refuse) == (entry, {"from": 2}, True)
    assert (entry / "step.so").read_text() == "machine code"
    assert [path.name for path in folder.iterdir()] == ["abc"]


def test_what_failed_leaves_nothing(folder: Path) -> None:
    def fail(folder: Path) -> dict[str, Any]:
        (folder / "half").write_text("")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        cache.find_or_make("abc", fail)
    assert not list(folder.iterdir())
    assert not cache.find_or_make("abc", make)[2]


@pytest.mark.parametrize("damage", ["no notes", "half of the notes", "no program", "half of the program"])
def test_a_damaged_entry_is_made_again(damage: str) -> None:
    entry, _, _ = cache.find_or_make("abc", make)
    if damage == "no notes":
        (entry / "about.json").unlink()
    elif damage == "half of the notes":
        (entry / "about.json").write_text('{"fr')
    elif damage == "no program":
        (entry / "step.so").unlink()
    else:
        (entry / "step.so").write_text("mach")
    again, about, there = cache.find_or_make("abc", make)
    assert (again, about, there) == (entry, {"from": 2}, False)
    assert (entry / "step.so").read_text() == "machine code"
    assert cache.find_or_make("abc", refuse)[2]


def test_two_at_once() -> None:
    together = threading.Barrier(2)

    def slowly(folder: Path) -> dict[str, Any]:
        together.wait()
        return make(folder)

    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(cache.find_or_make("abc", slowly))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2
    assert found[0][:2] == found[1][:2]
    assert (found[0][0] / "step.so").exists()
    assert [path.name for path in found[0][0].parent.iterdir()] == ["abc"]


def test_a_processor_is_told_by_what_it_can_do(tmp_path: Path) -> None:
    information = tmp_path / "cpuinfo"
    information.write_text("processor : 0\nflags\t\t: sse avx2\n\nprocessor : 1\n")
    assert cache._processor(information) == "avx2 sse"
    assert cache._processor(tmp_path / "none") == torch.backends.cpu.get_cpu_capability()


def content(change: Any = None, batch: Any = None, **options: Any) -> str:
    """The key of a step's program, after `change`."""
    torch.manual_seed(1)
    model = perceptron(torch.float32)
    step = TrainingStep(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=0.1), **options)
    if change is not None:
        change(step)
    binding = Binding(step)
    batch = batch or points(6, torch.float32)
    lines, _ = dry_run(step.names(), binding.pure(True), binding.leaves, binding.numbers, batch)
    return cache.key(lines)


class Constant(nn.Module):
    """One whose forward depends on what is neither parameter nor buffer."""

    def __init__(self, values: list[float]) -> None:
        super().__init__()
        self.values = torch.tensor(values)

    def forward(self, x: Any) -> Any:
        return x * self.values


def set_number(name: str, value: Any) -> Any:
    return lambda step: step.optimizer.param_groups[0].update({name: value})


def test_what_a_program_is_filed_under(monkeypatch: pytest.MonkeyPatch) -> None:
    first = content()
    same = {
        "again": content(),
        "another lr": content(set_number("lr", 0.2)),
        "lr 0": content(set_number("lr", 0.0)),
        "other values": content(lambda step: step.model[0].weight.data.fill_(1)),
        "other data": content(batch=points(6, torch.float32, 1)),
        "a step later": content(lambda step: step(*points(6, torch.float32))),
        "loaded": content(lambda step: step.optimizer.load_state_dict(step.optimizer.state_dict())),
    }
    assert {name for name, key in same.items() if key != first} == set()
    other = {
        "batch size": content(batch=points(7, torch.float32)),
        "weight decay": content(set_number("weight_decay", 0.1)),
        "maximize": content(set_number("maximize", True)),
        "clip": content(clip=1.0),
        "another clip": content(clip=2.0),
        "accumulate": content(accumulate=2),
        "another accumulate": content(accumulate=3),
        "frozen": content(lambda step: step.model[0].freeze()),
        "another layer": content(lambda step: step.model.append(nn.Tanh())),
        "dropout": content(lambda step: step.model.append(nn.Dropout(0.1)), seed=1),
        "another dropout": content(lambda step: step.model.append(nn.Dropout(0.2)), seed=1),
        "a constant": content(lambda step: step.model.append(Constant([1.0, 2.0]))),
        "another constant": content(lambda step: step.model.append(Constant([1.0, 3.0]))),
        "dtype": content(lambda step: step.model.double(), points(6)),
    }
    monkeypatch.setattr(cache, "_surroundings", lambda: "another machine")
    other["another machine"] = content()
    assert len({first, *other.values()}) == 1 + len(other)

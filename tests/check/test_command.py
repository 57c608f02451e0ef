"""python -m modgrad.check: exit status, output, guesses at inputs, errors without a traceback."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import modgrad
from modgrad.check.__main__ import main

ROOT = Path(modgrad.__file__).parents[1]

MINE = """
import torch
from modgrad import nn


class Wrong(nn.Primitive):
    def forward(self, call, x):
        call.save(x)
        return x * x

    def backward(self, call, grad):
        return -2 * call.saved[0] * grad


class Net(nn.Module):
    def __init__(self, classes=3):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 2, 5), nn.ReLU(), nn.Flatten(), nn.Linear(1152, classes))

    def forward(self, x):
        return self.body(x)


class TwoInputs(nn.Module):
    def forward(self, x, *, unused=None, factor=2.0):
        return x * factor


class Examples(nn.Module):
    def example_inputs(self):
        return torch.randn(2, 7), [torch.randn(7)]

    def forward(self, x, others):
        return x * others[0]


class Picky(nn.Primitive):
    def forward(self, call, x):
        assert x.shape == (5, 17), "only (5, 17)"
        return x + 0

    def backward(self, call, grad):
        return grad


def make():
    return nn.Tanh()


layers = nn.Sequential(nn.Linear(3, 2), nn.Tanh())
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    return tmp_path


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "modgrad.check", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_right_is_0(mine: Path) -> None:
    done = command(mine, "mine:Net", "--seed", "1", "--elements", "5")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Net: all 13 derivatives are right" in done.stdout
    assert "Inputs as guessed: --input 2,1,28,28." in done.stdout


def test_wrong_is_1_and_names_it(mine: Path) -> None:
    done = command(mine, "mine:Wrong")
    assert (done.returncode, done.stderr) == (1, "")
    assert "Wrong, input 0: wrong at [" in done.stdout
    assert "stated is -1 times measured throughout" in done.stdout


def test_usage_error_is_2_without_traceback(mine: Path) -> None:
    done = command(mine, "mine:Nothing")
    assert (done.returncode, done.stdout) == (2, "")
    assert "error: 'mine' has no 'Nothing'" in done.stderr
    assert "Traceback" not in done.stderr


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(mine: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """The same in this process, which is faster."""

    def inside(*arguments: str) -> tuple[int, str, str]:
        try:
            status = main(arguments)
        except SystemExit as stop:
            status = stop.code  # type: ignore[assignment]
        said = capsys.readouterr()
        return status, said.out, said.err

    return inside


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["modgrad.nn:Linear(3, 2)"], ["Linear: all 3", "--input 4,3."]),
        (["modgrad.nn:Linear(3, out_features=2, bias=False)"], ["Linear: all 2"]),
        (["modgrad.nn:Conv2d(2, 3, (1, 2))"], ["Conv2d: all 3", "--input 2,2,6,6."]),
        (["modgrad.nn:BatchNorm2d(2)"], ["BatchNorm2d: all 3", "--input 2,2,6,6."]),
        (["modgrad.nn:LayerNorm((5, 2))"], ["LayerNorm: all 3", "--input 4,5,2."]),
        (["modgrad.nn:Embedding(4, 3)"], ["Embedding: the derivative", "--input 4:int4."]),
        (["modgrad.nn:MaxPool2d(2)"], ["MaxPool2d: the derivative", "--input 2,3,6,6."]),
        (["modgrad.nn:CrossEntropyLoss"], ["the derivative is right", "--input 4,3 --input 4:int3."]),
        (["modgrad.nn:MSELoss()"], ["all 2", "--input 4,3 --input 4,3."]),
        (["modgrad.nn:CrossEntropyLoss", "--input", "2,5,3", "--input", "2,3:int5"], ["30 elements", "as given"]),
        (["modgrad.nn:Tanh", "--input", ""], ["1 element", "Inputs as given: --input ."]),
        (["modgrad.nn:Tanh", "--input", "(4, 3)"], ["12 elements", "--input 4,3."]),
        (["mine:layers"], ["0 (Linear)", "--input 4,3."]),
        (["mine:make()"], ["Tanh: the derivative"]),
        (["mine:TwoInputs"], ["Mul in TwoInputs"]),
        (["mine:Examples"], ["input 1[0]", "Inputs from Examples.example_inputs()."]),
        (["mine:Picky", "--input", "5,17", "--elements", "9"], ["9 of 85 elements"]),
    ],
    ids=" ".join,
)
def test_targets_and_inputs(run: Run, arguments: list[str], found: list[str]) -> None:
    status, out, err = run(*arguments)
    assert (status, err) == (0, "")
    for text in found:
        assert text in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["modgrad.nn"], "expected package.module:Class"),
        (["modgrad.nn:"], "expected package.module:Class"),
        (["nowhere:Net"], "importing 'nowhere' raises ModuleNotFoundError"),
        (["modgrad.nn:Linear"], "missing 2 required positional arguments"),
        (["modgrad.nn:Linear(3, 2"], "is not a name"),
        (["modgrad.nn:Linear(3, open('x'))"], "not a literal"),
        (["modgrad.nn:Linear(**{})"], "write each argument out"),
        (["modgrad.nn:(lambda: 0)()"], "expected a name"),
        (["modgrad.nn:Sequential(Linear(3, 2))"], "make an instance"),
        (["modgrad.nn:keep_values"], "write modgrad.nn:keep_values() to call it"),
        (["modgrad.nn:init"], "not a module or a class of modules"),
        (["collections:OrderedDict"], "not an nn.Module"),
        (["mine:layers(3)"], "takes no arguments"),
        (["mine:Picky"], "give each with --input"),
        (["mine:Picky", "--input", "4,3"], "only (5, 17)"),
        (["modgrad.nn:Tanh", "--input", "4,x"], "expected a shape"),
        (["modgrad.nn:Tanh", "--input", "4:int0"], "expected a shape"),
        (["modgrad.nn:Tanh", "--input", "4:bool"], "expected a shape"),
        (["modgrad.nn:Tanh", "--input", "4,-3"], "expected a shape"),
        (["modgrad.nn:Tanh", "--elements", "0"], "elements=0"),
        (["modgrad.nn:Tanh", "--input", "4:int5"], "no floating-point input"),
    ],
    ids=" ".join,
)
def test_usage_errors(run: Run, arguments: list[str], message: str) -> None:
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert message in err


def test_seed_makes_it_repeatable(run: Run) -> None:
    first, again, other = (run("modgrad.nn:Tanh", "--seed", seed)[1] for seed in ("1", "1", "2"))
    assert first == again
    assert first != other

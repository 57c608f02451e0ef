"""The `modgrad` command: what it prints, its exit status, errors without a traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from modgrad import __version__
from modgrad.cli import COMMANDS, main

USER = """
import torch
from modgrad import nn, optim
from modgrad.step import TrainingStep

def training_step():
    model = nn.Sequential(nn.Linear(2, 5), nn.ReLU(), nn.Linear(5, 2))
    step = TrainingStep(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=0.01))
    return step, torch.rand(8, 2), torch.randint(2, (8,))

def of_a_model():
    return nn.Linear(2, 3), 1, 2

def of_nothing():
    pass

def failing():
    raise KeyError("a batch")

number = 3
"""


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a user's file, user_of_modgrad.py."""
    (tmp_path / "user_of_modgrad.py").write_text(USER)
    (tmp_path / "broken_of_modgrad.py").write_text("import absent_of_modgrad")
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in ("user_of_modgrad", "broken_of_modgrad"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


WRONG = {
    "no command": ([], "the following arguments are required: COMMAND"),
    "another command": (["train"], "invalid choice: 'train'"),
    "no file": (["export", "absent.py", "a.onnx"], "there is no file absent.py"),
    "no Python": (["export", "user_of_modgrad", "a.onnx"], "expected FILE.py or FILE.py:FUNCTION"),
    "no folder": (["export", "user_of_modgrad.py", "absent/a.onnx"], "there is no folder absent"),
    "another ending": (["export", "user_of_modgrad.py", "a.pt"], "a.pt: expected the name of an .onnx file"),
    "no function": (["export", "user_of_modgrad.py:absent", "a.onnx"], "has no function absent: write one"),
    "a number": (["export", "user_of_modgrad.py:number", "a.onnx"], "has no function number"),
    "not a step": (
        ["export", "user_of_modgrad.py:of_a_model", "a.onnx"],
        "returns (Linear, int, int): expected (step",
    ),
    "nothing": (["export", "user_of_modgrad.py:of_nothing", "a.onnx"], "returns NoneType: expected (step, x, y)"),
    "failing": (
        ["export", "user_of_modgrad.py:failing", "a.onnx"],
        "failing() of user_of_modgrad.py raises KeyError: 'a batch' (",
    ),
    "failing import": (["export", "broken_of_modgrad.py", "a.onnx"], "importing broken_of_modgrad.py raises ModuleNot"),
    "steps": (["export", "user_of_modgrad.py", "a.onnx", "--steps", "3"], "invalid choice: '3'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_not_understood(user: Path, case: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, words = WRONG[case]
    with pytest.raises(SystemExit) as exit:
        main(arguments)
    assert exit.value.code == 2
    told = " ".join(capsys.readouterr().err.split())
    assert words in told
    assert not list(user.glob("*.onnx"))


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    """Every command tells of itself."""
    for arguments in (["--help"], *([name, "--help"] for name in COMMANDS)):
        with pytest.raises(SystemExit) as exit:
            main(arguments)
        assert exit.value.code == 0
        assert capsys.readouterr().out.startswith("usage: modgrad")
    done = subprocess.run([sys.executable, "-m", "modgrad", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"modgrad {__version__}\n"

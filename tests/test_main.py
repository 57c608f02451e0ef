"""test.py, the main executable: what it learns, what it prints, what it draws, what it refuses."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
import torch

from modgrad import nn

FILE = Path(__file__).parent.parent / "test.py"
ROWS = [("Sequential", "SGD"), ("Sequential", "Adam"), ("Custom", "SGD"), ("Custom", "Adam")]


@pytest.fixture
def program() -> Iterator[ModuleType]:
    """test.py as a module. It switches autograd off and takes one thread for itself; both are put back."""
    enabled, threads = torch.is_grad_enabled(), torch.get_num_threads()
    spec = spec_from_file_location("main_executable", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    torch.set_grad_enabled(enabled)
    torch.set_num_threads(threads)


@pytest.mark.parametrize("seed", [0, 1, 13])  # 13: the hardest of the first 30
def test_every_row_learns_the_disc(program, capsys, seed):
    rows = program.main(["--seed", str(seed)])
    assert [(row.model_name, row.optimizer_name) for row in rows] == ROWS
    for row in rows:
        assert row.test_errors <= 30  # of 1,000: 3 %
        assert row.train_errors <= 30
        assert len(row.losses) == 400
        assert row.losses[-1] < 0.1 < row.losses[0]

    line = r"^(\w+) +(\w+) +(\d+) = +(\d+\.\d) % +(\d+) = +(\d+\.\d) % +(\d+\.\d\d)$"
    printed = re.findall(line, capsys.readouterr().out, re.MULTILINE)
    assert [found[:2] for found in printed] == ROWS
    for row, (_, _, train, train_percent, test, test_percent, seconds) in zip(rows, printed, strict=True):
        assert (int(train), int(test)) == (row.train_errors, row.test_errors)
        assert (float(train_percent), float(test_percent)) == (row.train_errors / 10, row.test_errors / 10)
        assert float(seconds) == pytest.approx(row.seconds, abs=0.005001)


def test_the_errors_are_those_of_fresh_points(program):
    (row, *_) = program.main(["--epochs", "20"])
    generator = torch.Generator().manual_seed(0)
    train, test = program.generate_data(generator)
    assert len(train.points) == len(test.points) == 1000
    assert not torch.equal(train.points, test.points)
    torch.testing.assert_close(train.inputs.mean(0), torch.zeros(2), rtol=0, atol=1e-6)
    with nn.no_grad():
        wrong = [int((row.model(data.inputs).argmax(1) != data.targets).sum()) for data in (train, test)]
    assert wrong == [row.train_errors, row.test_errors]


def test_the_seed_decides(program):
    results = [
        [(row.train_errors, row.test_errors, row.losses) for row in program.main(["--epochs", "3", "--seed", seed])]
        for seed in ("5", "5", "6")
    ]
    assert results[0] == results[1]
    assert results[0] != results[2]


def test_the_custom_relu_is_relu(program):
    x = torch.randn(4, 5)
    x[0, 0] = 0
    upstream, gradients = torch.randn(4, 5), []
    for relu in (program.ReLU(), nn.ReLU()):
        leaf = nn.Variable(x.clone())
        output = relu(leaf)
        output.backward(upstream)
        assert torch.equal(output.detach(), x.clamp(min=0))
        gradients.append(leaf.grad_v)
    assert torch.equal(*gradients)
    assert gradients[0][0, 0] == 0


def test_the_picture_shows_something(program, tmp_path):
    matplotlib_image = pytest.importorskip("matplotlib.image")
    rows = program.main(["--epochs", "15", "--plot", str(tmp_path / "learnt.png")])
    assert (tmp_path / "learnt.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    picture = torch.tensor(matplotlib_image.imread(tmp_path / "learnt.png"))[:, :, :3]  # (height, width, 3), 0 to 1
    height, width, _ = picture.shape
    assert height > 500
    assert width > 1000
    # Each model's panel holds both regions' colours, points of both classes and the circle of the disc.
    for column in range(len(rows)):
        panel = picture[: height // 2, column * width // 4 : (column + 1) * width // 4]
        for colour in ("#dbe7f5", "#f8dfe2", "#2f6db5", "#d1495b", "#1b7f4d"):
            value = torch.tensor([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
            assert ((panel - value).abs().amax(2) < 0.01).sum() > 50, f"{colour} in panel {column}"
    below = picture[height // 2 :]
    assert ((below.amax(2) - below.amin(2)) > 0.3).sum() > 500  # the coloured curves


def test_a_picture_that_cannot_be_drawn_is_refused_before_the_work(program, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(program, "train_model", None)  # calling it would raise
    for file, message in [
        (tmp_path / "learnt.unknown", "expected a name that ends with one of ."),
        (tmp_path / "nowhere" / "learnt.png", "there is no folder"),
    ]:
        with pytest.raises(SystemExit) as stopped:
            program.main(["--plot", str(file)])
        assert stopped.value.code == 2
        assert message in capsys.readouterr().err


def test_without_matplotlib_it_says_how_to_install_it(program, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)  # importing it then fails
    with pytest.raises(SystemExit) as stopped:
        program.main(["--plot", "learnt.png"])
    assert stopped.value.code == 2
    assert "pip install modgrad[plots]" in capsys.readouterr().err
    assert len(program.main(["--epochs", "1"])) == 4  # which needs none


def test_ctrl_c_ends_the_program_with_the_rows_so_far(program, capsys, monkeypatch):
    forward, calls = program.Custom.forward, []

    def interrupted(self, x):
        calls.append(len(x))
        if len(calls) == 6:  # in the second epoch of four batches
            raise KeyboardInterrupt
        return forward(self, x)

    monkeypatch.setattr(program.Custom, "forward", interrupted)
    with pytest.raises(SystemExit) as stopped:
        program.main(["--epochs", "2"])
    assert stopped.value.code == 130
    shown = capsys.readouterr()
    assert "Custom, SGD: training interrupted, 1 of 2 epochs finished" in shown.err
    assert [line.split()[:2] for line in shown.out.splitlines()[3:-1]] == [list(row) for row in ROWS[:3]]


@pytest.mark.parametrize("epochs", ["0", "-1", "many"])
def test_it_refuses_what_is_no_number_of_epochs(program, capsys, epochs):
    with pytest.raises(SystemExit) as stopped:
        program.main(["--epochs", epochs])
    assert stopped.value.code == 2
    assert "--epochs" in capsys.readouterr().err


def test_help_names_the_options(program, capsys):
    with pytest.raises(SystemExit) as stopped:
        program.main(["--help"])
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    assert all(option in shown for option in ("--seed", "--epochs", "--plot FILE"))


def test_as_a_program_it_runs_without_autograd_and_without_matplotlib():
    code = (
        "import runpy, sys, torch; sys.argv = ['test.py', '--epochs', '1']; "
        f"runpy.run_path({str(FILE)!r}, run_name='__main__'); "
        "print(torch.is_grad_enabled(), 'matplotlib' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=FILE.parent, check=False)
    assert done.returncode == 0, done.stderr
    *table, switches = done.stdout.splitlines()
    assert [line.split()[:2] for line in table[3:7]] == [list(row) for row in ROWS]
    assert table[7].startswith("total")
    assert switches == "False False"

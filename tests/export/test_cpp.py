"""The C++ example: built as its README says, it trains what was exported to the same weights as the eager step."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

import modgrad
from modgrad.helper import compute_nb_errors
from modgrad.step import TrainingStep

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "cpp"
STEPS = 100


def run(*command: Any) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As the example exports: the models are small, and a package is for as many threads as there are at export."""
    monkeypatch.syspath_prepend(str(EXAMPLE))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def json_header() -> Path:
    """The folder of nlohmann's JSON library. Skips where it, or what builds C++, is not there."""
    for tool in ("cmake", "g++"):
        if shutil.which(tool) is None:
            pytest.skip(f"the C++ example was not tried: there is no {tool}. apt install cmake g++ nlohmann-json3-dev")
    for folder in (Path("/usr/include"), Path("/usr/local/include"), Path("/opt/homebrew/include")):
        if (folder / "nlohmann" / "json.hpp").exists():
            return folder
    pytest.skip("the C++ example was not tried: there is no nlohmann/json.hpp. apt install nlohmann-json3-dev")


def onnxruntime() -> list[str]:
    """What cmake is told of onnxruntime. Skips where its headers are not there, which its wheel lacks."""
    found = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    places = [os.environ.get("ONNXRUNTIME_INCLUDE_DIR"), "/usr/include/onnxruntime", "/usr/local/include/onnxruntime"]
    headers = [place for place in places if place and (Path(place) / "onnxruntime_cxx_api.h").exists()]
    if not headers:
        pytest.skip(
            "training by onnxruntime from C++ was not tried: there is no onnxruntime_cxx_api.h. apt install "
            "libonnxruntime-dev (Debian 13), or name its folder in ONNXRUNTIME_INCLUDE_DIR"
        )
    (library,) = (Path(found.__file__).parent / "capi").glob("libonnxruntime.so.*")
    return [f"-DONNXRUNTIME_INCLUDE_DIR={headers[0]}", f"-DONNXRUNTIME_LIBRARY={library}"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The program for a runtime, built once."""
    programs: dict[str, Path] = {}

    def build(runtime: str) -> Path:
        json_header()
        if runtime not in programs:
            folder = tmp_path_factory.mktemp(runtime)
            if runtime == "libtorch":
                options = [f"-DCMAKE_PREFIX_PATH={torch.utils.cmake_prefix_path}"]
            else:
                options = onnxruntime()
            run("cmake", "-S", EXAMPLE, "-B", folder, *options)
            run("cmake", "--build", folder, "--target", f"train_{runtime}")
            programs[runtime] = folder / f"train_{runtime}"
        return programs[runtime]

    return build


def eagerly(task: Any) -> TrainingStep:
    """The steps that train.cpp takes."""
    step, size = task.step, task.batch_size
    inputs, targets = (part.split(size) for part in task.train)
    (group,) = step.optimizer.param_groups
    rate = group["lr"]
    for k in range(STEPS):
        group["lr"] = rate if k < STEPS * 4 // 5 else 0.1 * rate
        step(inputs[k % len(inputs)], targets[k % len(inputs)])
    return step


@pytest.mark.parametrize(
    ("runtime", "name"),
    [
        pytest.param("libtorch", "disc", marks=pytest.mark.thorough),
        pytest.param("libtorch", "digits", marks=pytest.mark.thorough),
        ("onnxruntime", "disc"),
        pytest.param("onnxruntime", "digits", marks=pytest.mark.thorough),
    ],
)
@pytest.mark.xdist_group("cpp")
def test_trained_in_cpp(runtime: str, name: str, built: Callable[[str], Path], tmp_path: Path) -> None:
    if name == "digits":
        pytest.importorskip("sklearn")
    program = built(runtime)
    models = import_module("export_models")
    torch.use_deterministic_algorithms(False)  # as outside of tests
    models.export(tmp_path, name, onnx=runtime == "onnxruntime")
    printed = run(program, tmp_path, name, STEPS)

    step = eagerly(models.make(name))
    state = modgrad.load(tmp_path / f"{name}.trained.safetensors")
    expected = {key: value for kind, named in step.state.items() if kind != "schedule" for key, value in named.items()}
    assert state.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(state[key], value, rtol=1e-5, atol=1e-5, msg=lambda m, key=key: f"{key}: {m}")

    task = models.make(name)  # and what was saved is the model's own, in Python
    task.step.model.load_state_dict({key: state[key] for key in task.step.model.state_dict()})
    wrong = compute_nb_errors(task.step.model, *task.test)
    told = re.findall(r"\((\d+) of (\d+)\)", printed)
    assert len(told) == 6
    assert told[-1] == (str(wrong), str(len(task.test[1])))
    assert int(told[-1][0]) < int(told[0][0]) / 2
    assert re.search(r"[\d.]+ us a step", printed)
    assert f"({wrong} of " in run(sys.executable, EXAMPLE / "evaluate.py", tmp_path, name)

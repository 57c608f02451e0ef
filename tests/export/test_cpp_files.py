"""What the C++ example reads: files that are right come through, damaged ones are refused in words.

The program is built with the sanitizers, so that a read or a write beside a tensor fails the test too.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import modgrad
from tests.export.test_cpp import EXAMPLE, json_header, run

FORMAT = "modgrad-training-step-aoti"
FLAGS = ["-std=c++20", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
pytestmark = pytest.mark.xdist_group("cpp")
SOURCES = [Path(__file__).with_name("roundtrip.cpp"), *(EXAMPLE / "common").glob("*.cpp")]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """What roundtrip.cpp says against its arguments; nothing where all is well."""
    includes = [f"-I{EXAMPLE / 'common'}", f"-I{json_header()}"]
    program = tmp_path_factory.mktemp("roundtrip") / "roundtrip"
    run("g++", *FLAGS, *includes, *SOURCES, "-o", program)

    def tell(*arguments: Any) -> str:
        environment = os.environ | {"ASAN_OPTIONS": "detect_leaks=0"}  # which does not work in every container
        done = subprocess.run(
            [program, *arguments], capture_output=True, errors="replace", check=False, env=environment
        )
        assert done.returncode == bool(done.stderr), done.stderr
        assert "runtime error" not in done.stderr
        assert "Sanitizer" not in done.stderr
        return done.stderr

    return tell


def test_safetensors_both_ways(told: Callable[..., str], tmp_path: Path) -> None:
    kinds = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
    kinds += [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool]
    tensors = {f"{i}.{kind}": (torch.randn(i, 3) * 9).to(kind) for i, kind in enumerate(kinds)}
    tensors["number"] = torch.tensor(2.5)
    given, made = tmp_path / "given.safetensors", tmp_path / "made.safetensors"
    modgrad.save(tensors, given, {"some": "metadata"})
    assert not told(given, made)
    again = modgrad.load(made)
    assert again.keys() == tensors.keys()
    for name, tensor in tensors.items():
        torch.testing.assert_close(again[name], tensor, rtol=0, atol=0)
    assert "cannot write" in told(given, tmp_path / "nowhere" / "made.safetensors")
    assert "there is no file" in told(tmp_path / "none.safetensors", made)


def test_tensors_that_are_not_aligned(told: Callable[..., str], tmp_path: Path) -> None:
    numbers = torch.randn(2, dtype=torch.float64)
    header = {"a": entry(0, 1, [1], "U8"), "b": entry(1, 17, [2], "F64"), "none": entry(17, 17, [0, 5])}
    given, made = tmp_path / "given.safetensors", tmp_path / "made.safetensors"
    given.write_bytes(content(header, b"\7" + numbers.numpy().tobytes()))
    assert not told(given, made)
    again = modgrad.load(made)
    assert again["a"].tolist() == [7]
    assert torch.equal(again["b"], numbers)
    assert again["none"].shape == (0, 5)


def entry(begin: int, end: int, shape: Any, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def content(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


TWICE = b'{"a": %b, "a": %b}' % tuple(json.dumps(entry(i, i + 4, [1])).encode() for i in (0, 4))
DAMAGED = {
    "cut": (b"12345", "its header is longer than its 5 bytes"),
    "longer than the file": (content({}, length=3), "its header is longer than its 10 bytes"),
    "longer than a number": (content({}, length=2**64 - 8), "its header is longer than its 10 bytes"),
    "no JSON": (content(b"{"), "parse error"),
    "not in UTF-8": (content(b'{"\xff": 1}'), "invalid string"),
    "no object": (content([]), "no JSON object"),
    "no entry": (content({"a": 5}), "it has a, "),
    "unknown dtype": (content({"a": entry(0, 4, [4], "F8X")}, bytes(4)), "of dtype F8X"),
    "beyond the data": (content({"a": entry(0, 8, [2])}, bytes(4)), "whose place in the file"),
    "of another size": (content({"a": entry(0, 4, [2])}, bytes(4)), "whose place in the file"),
    "backwards": (content({"a": entry(4, 0, [1])}, bytes(4)), "whose place in the file"),
    "negative offset": (content({"a": entry(-4, 0, [1])}, bytes(4)), "with [-4,0] in place of numbers"),
    "negative sizes": (content({"a": entry(0, 8, [-1, -2])}, bytes(8)), "with [-1,-2] in place of numbers"),
    "half a size": (content({"a": entry(0, 8, [2.5])}, bytes(8)), "with [2.5] in place of numbers"),
    "no list": (content({"a": entry(0, 8, {"a": 2})}, bytes(8)), 'with {"a":2} in place of numbers'),
    "one offset": (content({"a": entry(0, 4, [1]) | {"data_offsets": [0]}}, bytes(4)), "with 1 data_offsets"),
    "more than memory": (content({"a": entry(0, 0, [2**32, 2**32])}), "there is no tensor float32"),
    "more than a number holds": (content({"a": entry(0, 0, [2**63 + 1])}), "there is no tensor float32"),
    "overlap": (content({"a": entry(0, 8, [2]), "b": entry(4, 12, [2])}, bytes(12)), "at byte 4"),
    "gap": (content({"a": entry(0, 8, [2]), "b": entry(12, 16, [1])}, bytes(16)), "at byte 12"),
    "more data": (content({"a": entry(0, 8, [2])}, bytes(12)), "at byte 12"),
    "named twice": (content(TWICE, bytes(8)), "at byte 4"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_files(name: str, told: Callable[..., str], tmp_path: Path) -> None:
    damaged, message = DAMAGED[name]
    given, made = tmp_path / "given.safetensors", tmp_path / "made.safetensors"
    given.write_bytes(damaged)
    words = told(given, made)
    assert words.startswith(f"{given} is no safetensors file, or a damaged one: ")
    assert message in words
    assert not made.exists()


SHAPES = {"a": [2], "b": [3, 1], "a.m": [2], "b.m": [3, 1]}
STATE = {**{name: torch.full(shape, i / 2) for i, (name, shape) in enumerate(SHAPES.items())}, "n": torch.tensor(3)}


def manifest() -> dict[str, Any]:
    """Of two parameters in one flat tensor, their moments in another, a count, and batches of 2 to 8."""
    x = {"input": "x", "shape": ["batch", 2], "dtype": "float32"}
    y = {"input": "y", "shape": ["batch"], "dtype": "int64"}
    state: list[tuple[Any, ...]] = [("n", "buffer", [], "int64")]
    state += [(n, "optimizer" if "." in n else "parameter", shape, "float32") for n, shape in SHAPES.items()]
    return {
        **{"format": FORMAT, "version": 1, "steps": 1, "model": "M", "criterion": "C", "optimizer": "O"},
        "files": {"step": "it.pt2", "predict": "it.pt2", "state": "it.safetensors"},
        "state": [dict(zip(("name", "kind", "shape", "dtype"), each, strict=True)) for each in state],
        "tensors": [
            *[
                {
                    **{"input": flat, "output": f"new.{flat}", "shape": [5], "dtype": "float32"},
                    "holds": [{"name": f"a{key}", "offset": 0}, {"name": f"b{key}", "offset": 2}],
                }
                for flat, key in (("flat", ""), ("moments", ".m"))
            ],
            {"input": "n", "output": None, "shape": [], "dtype": "int64", "holds": [{"name": "n", "offset": 0}]},
        ],
        "numbers": [{"name": "lr", "input": "lr", "value": 0.1, "dtype": "float64", "shape": []}],
        "batch": [x, y],
        "batch_sizes": [2, 8],
        "loss": {"output": "loss", "shape": [], "dtype": "float32"},
        "predict": {"state": ["flat"], "batch": [x], "outputs": []},
    }


def take(told: Callable[..., str], folder: Path, said: Any, x: torch.Tensor, y: torch.Tensor, *more: Path) -> str:
    modgrad.save(STATE, folder / "it.safetensors")
    modgrad.save({"x": x, "y": y}, folder / "batch.safetensors")
    (folder / "it.json").write_text(said if isinstance(said, str) else json.dumps(said))
    return told(folder / "it.json", FORMAT, folder / "batch.safetensors", *more)


X, Y = torch.ones(4, 2), torch.zeros(4, dtype=torch.int64)
CHANGES: dict[str, tuple[tuple[Any, ...], Any, str]] = {
    "format": (("format",), "another", f"not of the format {FORMAT}"),
    "several steps": (("steps",), "scan", "one step a call"),
    "no batch": (("batch",), 5, "json"),
    "too far": (("tensors", 0, "holds", 1, "offset"), 3, "flat is said to hold b, which does not fit"),
    "before": (("tensors", 0, "holds", 1, "offset"), -1, "flat is said to hold b, which does not fit"),
    "far too far": (("tensors", 0, "holds", 1, "offset"), 2**62, "flat is said to hold b, which does not fit"),
    "unknown": (("tensors", 0, "holds", 1, "name"), "c", "flat is said to hold c, which does not fit"),
    "of another dtype": (("state", 2, "dtype"), "float16", "flat is said to hold b, which does not fit"),
    "of no dtype": (("tensors", 0, "dtype"), "float17", "there is no dtype float17"),
    "no size": (("tensors", 0, "shape"), [-5], "json"),
    "free size": (("tensors", 0, "shape"), ["batch"], "there is no tensor float32"),
    "prediction": (("predict", "state"), ["b"], "the prediction takes b, which the state lacks"),
    "number": (("numbers", 0, "dtype"), "float32", "lr is no float64 scalar"),
    "loss": (("loss", "shape"), [3], "the loss is no scalar"),
}


def test_a_manifest_that_is_right(told: Callable[..., str], tmp_path: Path) -> None:
    assert not take(told, tmp_path, manifest(), X, Y)
    assert not take(told, tmp_path, manifest() | {"batch_sizes": [1, None]}, X.repeat(9, 1), Y.repeat(9))


@pytest.mark.parametrize("name", CHANGES)
def test_damaged_manifests(name: str, told: Callable[..., str], tmp_path: Path) -> None:
    (*path, key), value, message = CHANGES[name]
    said = place = manifest()
    for each in path:
        place = place[each]
    place[key] = value
    words = take(told, tmp_path, said, X, Y)
    assert words.startswith(f"{tmp_path / 'it.json'} is no manifest for a Trainer, or a damaged one: ")
    assert message in words


def test_a_manifest_that_is_none(told: Callable[..., str], tmp_path: Path) -> None:
    assert "parse error" in take(told, tmp_path, "{", X, Y)
    assert "key 'format' not found" in take(told, tmp_path, {}, X, Y)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (X, Y[:3], "y is int64 (3), expected int64 (batch), batch being 4 as in x"),
        (X.double(), Y, "x is float64 (4, 2), expected float32 (batch, 2)"),
        (X[:, :1], Y, "x is float32 (4, 1), expected float32 (batch, 2)"),
        (X[0], Y, "x is float32 (2), expected float32 (batch, 2)"),
        (X[:1], Y[:1], "x is float32 (1, 2), expected float32 (batch, 2), batch being from 2 to 8"),
        (X.repeat(3, 1), Y, "x is float32 (12, 2), expected float32 (batch, 2), batch being from 2 to 8"),
    ],
    ids=range(6),
)
def test_batches_that_a_program_does_not_take(
    x: torch.Tensor, y: torch.Tensor, message: str, told: Callable[..., str], tmp_path: Path
) -> None:
    assert take(told, tmp_path, manifest(), x.contiguous(), y) == message + "\n"


OTHERS = {name: value + 1 for name, value in STATE.items()}


@pytest.mark.parametrize("names", ["a b", "a b n", "a b a.m b.m", "a b a.m b.m n"])
def test_a_state_that_is_loaded(names: str, told: Callable[..., str], tmp_path: Path) -> None:
    loaded, after = tmp_path / "loaded.safetensors", tmp_path / "after.safetensors"
    given = {name: OTHERS[name] for name in names.split()}
    modgrad.save(given, loaded)
    assert not take(told, tmp_path, manifest(), X, Y, loaded, after)
    found = modgrad.load(after)
    assert found.keys() == STATE.keys()
    for name, value in (STATE | given).items():
        assert torch.equal(found[name], value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"a": OTHERS["a"]}, "the state has no parameter b"),
        ({**OTHERS, "c": X}, "the state has c, which is not of this step"),
        ({name: OTHERS[name] for name in ("a", "b", "b.m")}, "the state has no optimizer a.m"),
        ({**OTHERS, "a": X}, "a is float32 (4, 2), expected float32 (2)"),
        ({**OTHERS, "b": OTHERS["b"].double()}, "b is float64 (3, 1), expected float32 (3, 1)"),
    ],
    ids=range(5),
)
def test_a_state_that_is_not_this_steps(
    given: dict[str, torch.Tensor], message: str, told: Callable[..., str], tmp_path: Path
) -> None:
    loaded, after = tmp_path / "loaded.safetensors", tmp_path / "after.safetensors"
    modgrad.save(given, loaded)
    assert take(told, tmp_path, manifest(), X, Y, loaded, after) == message + "\n"
    assert not after.exists()

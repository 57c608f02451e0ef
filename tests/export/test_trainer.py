"""OnnxTrainer: a step written by hand against the same in numpy, its state in files, and what it refuses."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import modgrad
from modgrad.export import OnnxTrainer

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

from tests.export.handmade import LR, SHAPES, batch, initial, stepped, written

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return written(tmp_path)


@pytest.fixture
def trainer(path: Path) -> OnnxTrainer:
    return OnnxTrainer(path, threads=1)


def close(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    """float32 beside float64: a few units in the last place."""
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=2e-6, atol=1e-6, err_msg=name)


def same(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert found[name].dtype == value.dtype
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_steps_are_numpys(trainer: OnnxTrainer) -> None:
    """More than two of them, since the buffers change places; other batch sizes and learning rates in between."""
    state: dict[str, np.ndarray] = initial()
    same(trainer.state, state)
    for number, (size, lr) in enumerate([(5, None), (5, 0.02), (1, None), (8, 0.0), (8, np.float32(0.5))]):
        x, y = batch(size, number)
        loss = trainer.step(x, y, lr=lr)
        state, wanted = stepped(state, x, y, LR if lr is None else float(lr))
        assert isinstance(loss, float)
        assert loss == pytest.approx(wanted, rel=1e-6)
        close(trainer.state, state)
        close({"": trainer.predict(x)}, {"": x @ state["w"].T + state["b"] + state["frozen"]})


def test_the_state_is_written_where_it_is(trainer: OnnxTrainer) -> None:
    """Two sets of buffers and no other: onnxruntime writes into them, and what it reads is not what it writes."""
    x, y = batch()
    first, second = trainer._now, trainer._next
    for number in range(1, 5):
        trainer.step(x, y)
        assert (trainer._now is second) == (number % 2 == 1)
    assert trainer._now is first
    assert first["frozen"] is second["frozen"]
    assert not any(np.shares_memory(first[name], second[name]) for name in SHAPES if name != "frozen")


def test_what_is_handed_out_is_a_copy(path: Path) -> None:
    trainer = OnnxTrainer(written(path.parent, gradients=True))
    x, y = batch()
    trainer.step(x, y)
    state, gradients, prediction = trainer.state, trainer.gradients, trainer.predict(x)
    before = {name: value.copy() for name, value in (state | gradients).items()}, prediction.copy()
    for _ in range(3):
        trainer.step(x, y)
        trainer.predict(x + 1)
    same(state | gradients, before[0])
    np.testing.assert_array_equal(prediction, before[1])
    for value in trainer.state.values():
        value[...] = 0
    assert abs(trainer.state["w"]).min() > 0


def test_gradients(path: Path, trainer: OnnxTrainer) -> None:
    with pytest.raises(RuntimeError, match="gradients=True"):
        _ = trainer.gradients
    other = OnnxTrainer(written(path.parent, "other", gradients=True))
    x, y = batch()
    with pytest.raises(RuntimeError, match="no step was taken yet"):
        _ = other.gradients
    other.step(x, y)
    wanted, _ = stepped(initial(), x, y)
    close(other.gradients, {name: wanted[f"{name}.momentum_buffer"] for name in ("w", "b")})
    with pytest.raises(FloatingPointError):
        other.step(x * np.nan, y)
    with pytest.raises(RuntimeError, match="or the last one failed"):
        _ = other.gradients


def test_a_loss_that_is_not_finite_is_no_error_if_the_state_stays_so(trainer: OnnxTrainer) -> None:
    """(1e20)^2 is infinite in float32, and its derivative is not. A state that is not finite already is told of."""
    x, y = batch()
    trainer.assign({**W, "b": np.full(2, 1e20, np.float32)})
    assert trainer.step(x * 0, y) == np.inf
    assert all(np.isfinite(value).all() for value in trainer.state.values())
    trainer.assign({**W, "w": W["w"] * np.nan})
    with pytest.raises(FloatingPointError, match="'w' was not finite before the step"):
        trainer.step(x, y)


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64, np.uint64, None])
def test_integers_of_any_dtype(trainer: OnnxTrainer, dtype: Any) -> None:
    x, y = batch()
    y = abs(y)
    assert trainer.step(x, y.tolist() if dtype is None else y.astype(dtype)) == pytest.approx(
        stepped(initial(), x, y)[1]
    )


def test_other_forms_of_a_batch(trainer: OnnxTrainer) -> None:
    """Python's numbers, which have no dtype; narrower floats; steps in memory; a torch tensor. None is written to."""
    x, y = batch()
    x = x.astype(np.float16).astype(np.float32)
    wanted = stepped(initial(), x, y)[1]
    for form in (x.tolist(), x.astype(np.float16), np.asfortranarray(x), np.repeat(x, 2, 1)[:, ::2], torch.tensor(x)):
        trainer.assign(initial())
        assert trainer.step(form, y) == pytest.approx(wanted, rel=1e-6)
    x.setflags(write=False)
    y.setflags(write=False)
    trainer.assign(initial())
    assert trainer.step(x, y) == pytest.approx(wanted, rel=1e-6)


X, Y = batch()
WRONG: dict[str, tuple[tuple[Any, ...], dict[str, Any], type[Exception], str]] = {
    "one array": ((X,), {}, TypeError, r"given 1 arrays, expected 2: x \(batch, 3\) float32, y \(batch, 2\) int64"),
    "lr by its place": ((X, Y, 0.1), {}, TypeError, r"given 3 arrays, expected 2: .*by name: lr=0\.1"),
    "NaN": ((X * np.nan, Y), {}, FloatingPointError, "loss is nan, and 'w' would not be finite .*Look for NaN"),
    "overflow": ((X * np.float32(1e30), Y), {}, FloatingPointError, "loss is inf, and 'w'.* or give a smaller lr"),
    "float64": (
        (X.astype(np.float64), Y),
        {},
        TypeError,
        r"step: x is float64, expected float32\. Write array\.astype",
    ),
    "large integers": ((X.astype(np.int64), Y), {}, TypeError, "x is int64, expected float32"),
    "features": ((X[:, :2], Y), {}, ValueError, r"step: x has shape \(5, 2\), expected \(batch, 3\)"),
    "dimensions": ((X[0], Y), {}, ValueError, r"x has shape \(3,\), expected \(batch, 3\)"),
    "sizes": ((X, Y[:4]), {}, ValueError, r"y has shape \(4, 2\), so batch is 4; by x it is 5"),
    "nothing": ((X[:0], Y[:0]), {}, ValueError, "batch is 0"),
    "float targets": ((X, Y.astype(np.float32)), {}, TypeError, "y is float32, expected int64"),
    "too large": ((X, np.full((5, 2), 2**63, np.uint64)), {}, ValueError, "y has a value outside of"),
    "text": (("x", Y), {}, TypeError, "x is <U1, expected float32"),
    "nothing at all": ((X, None), {}, TypeError, "step: y: NoneType is no array of numbers"),
    "ragged": (([[1.0], [1.0, 2.0]], Y), {}, TypeError, "x: list is no array"),
    "lr of text": ((X, Y), {"lr": "fast"}, TypeError, "lr='fast': expected a number"),
    "lr of nan": ((X, Y), {"lr": float("nan")}, ValueError, "expected a finite number"),
    "lr of two": ((X, Y), {"lr": [0.1, 0.2]}, ValueError, r"lr has shape \(2,\): expected a number"),
    "lr by name": ((X, Y), {"lr": {"1.lr": 0.1}}, ValueError, "there is no '1.lr', only lr"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_batch_is_refused_and_nothing_is_lost(trainer: OnnxTrainer, case: str) -> None:
    arguments, named, error, words = WRONG[case]
    trainer.step(X, Y)
    before = trainer.state
    with pytest.raises(error, match=words):
        trainer.step(*arguments, **named)
    same(trainer.state, before)
    trainer.step(X, Y)


def test_what_onnxruntime_refuses_loses_nothing(trainer: OnnxTrainer, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer.step(X, Y)
    before = trainer.state
    with monkeypatch.context() as patch:
        patch.setattr(trainer, "_session", None)
        with pytest.raises(RuntimeError, match="the state is as it was before"):
            trainer.step(X, Y)
    same(trainer.state, before)
    wanted, _ = stepped(before, X, Y)
    trainer.step(X, Y)
    close(trainer.state, wanted)


def test_saved_and_loaded(trainer: OnnxTrainer, path: Path) -> None:
    """By its own reader, by modgrad's and by another trainer; and training goes on with the same numbers."""
    file = path.with_name("later.safetensors")
    for seed in range(3):
        trainer.step(*batch(5, seed))
    trainer.save(file)
    same({name: value.numpy() for name, value in modgrad.load(file).items()}, dict(sorted(trainer.state.items())))
    others = [OnnxTrainer(path), OnnxTrainer(path, state=file), OnnxTrainer(path, state=trainer.state)]
    others[0].load(file)
    loss = trainer.step(X, Y)
    for other in others:
        assert other.step(X, Y) == loss
        same(other.state, trainer.state)


def test_a_models_weights_alone(trainer: OnnxTrainer, path: Path) -> None:
    """As modgrad.save and torch.save's kin write them, in bfloat16 too: the optimizer's state stays as it is."""
    trainer.step(X, Y)
    before = trainer.state
    weights = {name: torch.randn(SHAPES[name]).bfloat16() for name in ("w", "b", "frozen")}
    modgrad.save(weights, path.with_name("weights.safetensors"))
    trainer.load(path.with_name("weights.safetensors"))
    same(trainer.state, before | {name: value.float().numpy() for name, value in weights.items()})


W = {name: value for name, value in initial().items() if name in ("w", "b", "frozen")}
UNFIT: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "no bias": ({k: v for k, v in W.items() if k != "b"}, ValueError, "1 are missing, as 'b'"),
    "half of the optimizer": (W | {"w.momentum_buffer": W["w"]}, ValueError, "missing, as 'b.momentum_buffer'"),
    "another name": (W | {"weight": W["w"]}, ValueError, "1 are not of this step, as 'weight'"),
    "shape": (W | {"b": np.zeros(3, np.float32)}, ValueError, r"'b' has shape \(3,\), in the step \(2,\)"),
    "dtype": (W | {"b": np.zeros(2)}, TypeError, r"'b' is float64, in the step float32.*astype\('float32'\)"),
    "nothing": ({}, ValueError, "3 are missing"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_state_that_does_not_fit_is_refused(trainer: OnnxTrainer, case: str, tmp_path: Path) -> None:
    """As arrays and as a file; nothing of it is taken."""
    state, error, words = UNFIT[case]
    trainer.step(X, Y)
    before = trainer.state
    with pytest.raises(error, match=words):
        trainer.assign(state)
    file = tmp_path / "unfit.safetensors"
    modgrad.export.tensors.write(state, file)
    with pytest.raises(error, match=rf"unfit\.safetensors.*{words}"):
        trainer.load(file)
    same(trainer.state, before)


def test_strict_is_false(trainer: OnnxTrainer) -> None:
    before = trainer.state
    trainer.assign({"b": np.float32([1, 2]), "other": np.zeros(9)}, strict=False)
    same(trainer.state, before | {"b": np.float32([1, 2])})
    with pytest.raises(ValueError, match=r"none of the tensors, as 'layer\.weight', is of this step, which has 'w'"):
        trainer.assign({"layer.weight": np.zeros(9)}, strict=False)


def test_several_groups_of_learning_rates(path: Path) -> None:
    """Each of them by its place or its name. The graph's second rate is that of `b`."""
    import onnx
    from onnx import TensorProto, helper

    model = onnx.load(path)
    model.graph.node.insert(0, helper.make_node("Cast", ["1.lr"], ["rate1"], to=1))
    model.graph.input.append(helper.make_tensor_value_info("1.lr", TensorProto.DOUBLE, []))
    for node in model.graph.node:
        if node.output[0] == "b.u":
            node.input[0] = "rate1"
    onnx.save(model, path)
    manifest = json.loads(path.with_suffix(".json").read_text())
    manifest["numbers"][0]["name"] = "0.lr"
    manifest["numbers"].append({**manifest["numbers"][0], "name": "1.lr", "input": "1.lr", "value": 0.3})
    path.with_suffix(".json").write_text(json.dumps(manifest))
    trainer = OnnxTrainer(path)
    for lr, rates in ((None, (LR, 0.3)), ([0.2, 0.4], (0.2, 0.4)), ({"1.lr": 0.7}, (LR, 0.7))):
        trainer.assign(initial())
        trainer.step(X, Y, lr=lr)
        found = trainer.state
        close({"w": found["w"]}, {"w": stepped(initial(), X, Y, rates[0])[0]["w"]})
        close({"b": found["b"]}, {"b": stepped(initial(), X, Y, rates[1])[0]["b"]})
    with pytest.raises(ValueError, match=r"the optimizer has 2 groups \(0.lr, 1.lr\): give one for each"):
        trainer.step(X, Y, lr=0.1)


CLIENT = """
import sys
import numpy as np
sys.path.insert(0, {root!r})
from modgrad.export import OnnxTrainer
trainer = OnnxTrainer({path!r}, threads=1)
x, y = np.ones((4, 3), np.float32), np.ones((4, 2), np.int64)
losses = [trainer.step(x, y) for _ in range(3)]
trainer.save({saved!r})
trainer.load({saved!r})
assert trainer.predict(x).shape == (4, 2)
assert losses[0] > losses[-1]
assert "torch" not in sys.modules and "safetensors" not in sys.modules and "onnx" not in sys.modules
import modgrad
for ask in (lambda: modgrad.nn, lambda: modgrad.save):
    try:
        ask()
    except ModuleNotFoundError as error:
        assert error.name == "torch" and "needs PyTorch, which is not installed" in str(error), error
    else:
        raise SystemExit("PyTorch was found")
print("losses", *losses)
"""
BLOCK = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "safetensors", "onnx", "tqdm"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocked())
"""


def client(path: Path, root: Path = ROOT) -> str:
    return CLIENT.format(root=str(root), path=str(path), saved=str(path.with_name("saved.safetensors")))


def trained(python: str | Path, code: str, **environment: str) -> list[float]:
    done = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    words = done.stdout.split()
    return [float(word) for word in words[words.index("losses") + 1 :]]


def test_without_pytorch(path: Path, trainer: OnnxTrainer) -> None:
    """numpy and onnxruntime alone: whatever else modgrad needs is hidden from the interpreter."""
    x, y = np.ones((4, 3), np.float32), np.ones((4, 2), np.int64)
    assert trained(sys.executable, BLOCK + client(path)) == [trainer.step(x, y) for _ in range(3)]


@pytest.mark.thorough
def test_where_pytorch_is_not_installed(path: Path, trainer: OnnxTrainer, tmp_path: Path) -> None:
    """An environment of its own, in which pip has installed numpy, onnxruntime, and modgrad without what it needs."""
    venv.create(tmp_path / "venv", with_pip=True)
    pip = [tmp_path / "venv" / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    for what in (["numpy", "onnxruntime"], ["--no-deps", str(ROOT)]):
        done = subprocess.run([*pip, *what], capture_output=True, text=True, check=False)
        if done.returncode and re.search("No matching distribution|connection|resolution", done.stderr, re.I):
            pytest.skip(f"no package registry: {done.stderr[-200:]}")
        assert done.returncode == 0, done.stderr
    x, y = np.ones((4, 3), np.float32), np.ones((4, 2), np.int64)
    code = client(path, tmp_path / "nowhere")
    assert trained(pip[0], code) == [trainer.step(x, y) for _ in range(3)]

"""The files of an export that do not belong together, or are damaged: refused with what to do, before anything runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modgrad.export import OnnxTrainer
from modgrad.export.manifest import Manifest
from modgrad.export.tensors import read, write

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

from tests.export.handmade import batch, initial, written


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return written(tmp_path)


def changed(path: Path, change: Any) -> None:
    manifest = json.loads(path.with_suffix(".json").read_text())
    change(manifest)
    path.with_suffix(".json").write_text(json.dumps(manifest))


MANIFESTS: dict[str, tuple[Any, str]] = {
    "another format": (lambda m: m.update(format="other"), "no manifest of an exported"),
    "a later version": (lambda m: m.update(version=2), "version 2 of the format.*Use the modgrad that wrote it"),
    "no tensors": (lambda m: m.pop("tensors"), "damaged: KeyError: 'tensors'"),
    "a dtype": (lambda m: m["state"][0].update(dtype="float19"), "damaged: TypeError"),
    "a list": (lambda m: m.update(predict=[]), "damaged: TypeError"),
    "nowhere": (lambda m: m["tensors"].pop(), "damaged: 'seed' is in no tensor"),
    "outside": (lambda m: m["tensors"][0]["holds"][0].update(offset=1), "damaged: 'w' does not fit into 'w'"),
    "twice": (lambda m: m["tensors"][1]["holds"].append({"name": "b", "offset": 0}), "damaged: 'b' is said to hold"),
    "overlapping": (
        lambda m: m["tensors"][0]["holds"].append({"name": "b", "offset": 4}),
        "damaged: 'b' does not fit into 'w'",
    ),
    "a free size in the state": (lambda m: m["tensors"][0].update(shape=["batch", 3]), "damaged: KeyError: 'batch'"),
    "other inputs": (lambda m: m["batch"].pop(), "other inputs than hand.json says, as 'y'"),
    "other outputs": (lambda m: m["loss"].update(output="cost"), "other outputs than hand.json says, as 'cost'"),
    "no graph": (lambda m: m["files"].update(step="gone.onnx"), "there is no file .*gone.onnx, which hand.json names"),
    "no state": (lambda m: m["files"].update(state="gone.safetensors"), "there is no file .*gone.safetensors"),
}


@pytest.mark.parametrize("case", MANIFESTS)
def test_files_that_do_not_belong_together_are_refused(path: Path, case: str) -> None:
    change, words = MANIFESTS[case]
    changed(path, change)
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        OnnxTrainer(path)


def test_paths(path: Path, tmp_path: Path) -> None:
    assert repr(OnnxTrainer(str(path.with_suffix(".json")))) == "OnnxTrainer(hand.onnx: Linear of 9 parameters, SGD)"
    with pytest.raises(
        FileNotFoundError, match=r"no manifest .*absent\.json: step\.export_onnx\('absent\.onnx', x, y\)"
    ):
        OnnxTrainer(tmp_path / "absent.onnx")
    with pytest.raises(ValueError, match=r"expected the \.onnx file"):
        OnnxTrainer(tmp_path)
    with pytest.raises(ValueError, match=r"give the one of the step, hand\.onnx"):
        OnnxTrainer(path.with_name("hand.predict.onnx"))
    with pytest.raises(ValueError, match="threads=0"):
        OnnxTrainer(path, threads=0)
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match="does not take it"):
        OnnxTrainer(path)
    path.with_suffix(".json").write_text("{")
    with pytest.raises(ValueError, match="is not JSON"):
        OnnxTrainer(path)


def test_a_graph_for_prediction_of_another_export(path: Path) -> None:
    changed(path, lambda m: m["predict"]["state"].remove("frozen"))
    trainer = OnnxTrainer(path)
    x, y = batch()
    trainer.step(x, y)
    with pytest.raises(ValueError, match=r"hand\.predict\.onnx has other inputs than hand\.json says, as 'frozen'"):
        trainer.predict(x)


@pytest.mark.parametrize("lost", ["seed", "w.momentum_buffer", "b"])
def test_a_part_of_the_state_does_not_start_as_zeros(path: Path, lost: str) -> None:
    """As where a model's weights were saved over the state at export: a running variance of zero would go unnoticed."""
    file = Manifest.read(path).state
    write({name: value for name, value in read(file).items() if name != lost}, file)
    with pytest.raises(ValueError, match=rf"hand\.safetensors is not the state at export any more, it lacks '{lost}'"):
        OnnxTrainer(path)
    with pytest.raises(ValueError, match="export anew"):
        OnnxTrainer(path, state=initial())

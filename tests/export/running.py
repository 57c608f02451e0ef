"""An exported step, run as a client would: from its files alone, by what the manifest says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from safetensors.torch import load_file
from torch import Tensor

from modgrad.step import TrainingStep


class Files:
    """The files of an export."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifest: dict[str, Any] = json.loads(path.with_suffix(".json").read_text())
        self.named = load_file(path.parent / self.manifest["files"]["state"])
        self.step = onnxruntime.InferenceSession(path.parent / self.manifest["files"]["step"])
        self.predicting = onnxruntime.InferenceSession(path.parent / self.manifest["files"]["predict"])
        self.held = {}
        for entry in self.manifest["tensors"]:
            parts = [self.named[each["name"]] for each in entry["holds"]]
            alone = len(parts) == 1 and list(parts[0].shape) == entry["shape"]
            self.held[entry["input"]] = parts[0] if alone else torch.cat([p.flatten() for p in parts])

    @property
    def operators(self) -> set[tuple[str, str]]:
        found = set()
        for key in ("step", "predict"):
            model = onnx.load(self.path.parent / self.manifest["files"][key])
            onnx.checker.check_model(model, full_check=True)
            graphs = [model.graph]
            while graphs:
                for node in graphs.pop().node:
                    found.add((node.domain, node.op_type))
                    graphs += [a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]
        return found

    def train(self, *batch: Tensor, **numbers: Any) -> dict[str, Tensor]:
        """One call. Returns loss and gradients."""
        given = {each["input"]: x for each, x in zip(self.manifest["batch"], batch, strict=True)}
        for each in self.manifest["numbers"]:
            given[each["input"]] = torch.as_tensor(numbers.get(each["name"], each["value"]), dtype=torch.float64)
        result = run(self.step, {**self.held, **given})
        for entry in self.manifest["tensors"]:
            if entry["output"] is not None:
                self.held[entry["input"]] = result[entry["output"]]
        return {name: x for name, x in result.items() if not name.startswith("new.")}

    def predict(self, *inputs: Tensor) -> list[Tensor]:
        about = self.manifest["predict"]
        given = {each["input"]: x for each, x in zip(about["batch"], inputs, strict=True)}
        result = run(self.predicting, {**{name: self.held[name] for name in about["state"]}, **given})
        return [result[each["output"]] for each in about["outputs"]]

    def state(self) -> dict[str, Tensor]:
        """The named tensors, as they are now."""
        found = {}
        shapes = {each["name"]: each["shape"] for each in self.manifest["state"]}
        for entry in self.manifest["tensors"]:
            flat = self.held[entry["input"]].flatten()
            for each in entry["holds"]:
                shape = torch.Size(shapes[each["name"]])
                found[each["name"]] = flat[each["offset"] : each["offset"] + shape.numel()].reshape(shape)
        return found


def run(session: Any, given: dict[str, Tensor]) -> dict[str, Tensor]:
    feed = {each.name: given[each.name].contiguous().numpy() for each in session.get_inputs()}
    names = [each.name for each in session.get_outputs()]
    return {n: torch.from_numpy(np.array(x)) for n, x in zip(names, session.run(None, feed), strict=True)}


def exported(step: TrainingStep, folder: Path, *batch: Any, **options: Any) -> Files:
    step.export_onnx(folder / "model.onnx", *batch, **options)
    return Files(folder / "model.onnx")


def tensors(step: TrainingStep) -> dict[str, Tensor]:
    """The step's own state, by the names of the files."""
    found = {}
    for kind, named in step.state.items():
        if kind != "schedule":
            found |= {f"gradient.{n}" if kind == "gradients" else n: x.clone() for n, x in named.items()}
    return found


def largest_difference(a: dict[str, Tensor], b: dict[str, Tensor]) -> tuple[float, str]:
    assert a.keys() == b.keys()
    return max((float((a[n].double() - b[n].double()).abs().max()), n) for n in a)

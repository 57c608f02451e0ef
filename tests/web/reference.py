"""An exported step in plain onnxruntime, straight from the manifest: what the package in web/ is held against."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from safetensors.numpy import load_file


class Reference:
    """State by the graph's input names, and a call for a step: nothing more than the manifest says."""

    def __init__(self, path: Path) -> None:
        self.manifest: dict[str, Any] = json.loads(path.read_text())
        files = {key: str(path.parent / name) for key, name in self.manifest["files"].items()}
        self.session = onnxruntime.InferenceSession(files["step"], providers=["CPUExecutionProvider"])
        self.predictor = onnxruntime.InferenceSession(files["predict"], providers=["CPUExecutionProvider"])
        named = load_file(files["state"])
        self.shapes = {each["name"]: each["shape"] for each in self.manifest["state"]}
        self.state = {}
        for tensor in self.manifest["tensors"]:
            flat = np.zeros(int(np.prod(tensor["shape"])), tensor["dtype"])
            for held in tensor["holds"]:
                value = named[held["name"]].reshape(-1)
                flat[held["offset"] : held["offset"] + value.size] = value
            self.state[tensor["input"]] = flat.reshape(tensor["shape"])

    def step(self, x: np.ndarray, y: np.ndarray, lr: float | None = None) -> np.ndarray:
        given = [x, y]
        batch = {each["input"]: g.astype(each["dtype"]) for each, g in zip(self.manifest["batch"], given, strict=True)}
        numbers = {
            each["input"]: np.full([len(x)] * len(each["shape"]), each["value"] if lr is None else lr, each["dtype"])
            for each in self.manifest["numbers"]
        }
        names = [output.name for output in self.session.get_outputs()]
        results = dict(zip(names, self.session.run(names, {**self.state, **numbers, **batch}), strict=True))
        for tensor in self.manifest["tensors"]:
            if tensor["output"] is not None:
                self.state[tensor["input"]] = results[tensor["output"]]
        self.gradients = {each["name"]: results[each["output"]] for each in self.manifest["gradients"]}
        return np.asarray(results[self.manifest["loss"]["output"]])

    def predict(self, x: np.ndarray) -> np.ndarray:
        predict = self.manifest["predict"]
        feeds = {name: self.state[name] for name in predict["state"]}
        (spec,) = predict["batch"]
        return np.asarray(self.predictor.run(None, {**feeds, spec["input"]: x.astype(spec["dtype"])})[0])

    def named(self) -> dict[str, np.ndarray]:
        values = {}
        for tensor in self.manifest["tensors"]:
            flat = self.state[tensor["input"]].reshape(-1)
            for held in tensor["holds"]:
                shape = self.shapes[held["name"]]
                values[held["name"]] = flat[held["offset"] : held["offset"] + int(np.prod(shape))].reshape(shape)
        return values

"""A training step written by hand as ONNX, so that the client is tested apart from the exporter.

y = x w^T + b, w (2, 3), b (2,), loss mean((y - t)^2), SGD with momentum 0.5; `frozen` (1,) is never changed, and added
to the prediction.   `stepped` is the same in numpy.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper
from safetensors.numpy import save_file

SHAPES = {"w": (2, 3), "b": (2,), "frozen": (1,), "w.momentum_buffer": (2, 3), "b.momentum_buffer": (2,), "seed": (2,)}
KINDS = ["parameter"] * 3 + ["optimizer"] * 2 + ["randomness"]
LR = 0.1


def initial() -> dict[str, np.ndarray]:
    numbers = np.random.default_rng(0)
    state = {name: numbers.standard_normal(shape).astype(np.float32) for name, shape in SHAPES.items()}
    state["w.momentum_buffer"] *= 0
    state["b.momentum_buffer"] *= 0
    return {**state, "seed": np.array([7, 0])}


def batch(size: int = 5, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    numbers = np.random.default_rng(seed)
    return numbers.standard_normal((size, 3)).astype(np.float32), numbers.integers(-2, 3, (size, 2))


def stepped(state: dict[str, np.ndarray], x: Any, t: Any, lr: float = LR) -> tuple[dict[str, np.ndarray], float]:
    """The state after a step, and the loss, in float64."""
    s = {name: value.astype(np.float64) for name, value in state.items() if name != "seed"}
    difference = x @ s["w"].T + s["b"] + s["frozen"] - t
    upstream = 2 * difference / difference.size
    after = {**s, "seed": state["seed"] + [0, 1]}
    for name, gradient in {"w": upstream.T @ x, "b": upstream.sum(0)}.items():
        after[f"{name}.momentum_buffer"] = 0.5 * s[f"{name}.momentum_buffer"] + gradient
        after[name] = s[name] - lr * after[f"{name}.momentum_buffer"]
    return after, float((difference**2).mean())


def written(folder: Path, name: str = "hand", gradients: bool = False) -> Path:
    """The four files of an export, as the exporter writes them; the path of the step's."""
    state = initial()
    value = helper.make_tensor_value_info
    types = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64}
    tensors = [
        {
            "input": key,
            "output": None if key == "frozen" else f"new.{key}",
            "shape": list(array.shape),
            "dtype": array.dtype.name,
            "holds": [{"name": key, "offset": 0}],
        }
        for key, array in state.items()
    ]
    inputs = [value(t["input"], types[t["dtype"]], t["shape"]) for t in tensors]
    outputs = [value(t["output"], types[t["dtype"]], t["shape"]) for t in tensors if t["output"]]
    x, y = value("x", TensorProto.FLOAT, ["batch", 3]), value("y", TensorProto.INT64, ["batch", 2])
    prediction = value("prediction", TensorProto.FLOAT, ["batch", 2])
    forward = [("Transpose", "w", "wt"), ("MatMul", "x wt", "xw"), ("Add", "xw b", "xwb")]
    whole = [
        *forward,
        ("Add", "xwb frozen", "out"),
        ("Cast:1", "y", "t"),
        ("Sub", "out t", "d"),
        ("Mul", "d d", "dd"),
        ("ReduceMean", "dd", "loss"),
        ("Size", "d", "n"),
        ("Cast:1", "n", "nf"),
        ("Add", "d d", "d2"),
        ("Div", "d2 nf", "u"),
        ("Transpose", "u", "ut"),
        ("MatMul", "ut x", "grad.w"),
        ("ReduceSum", "u axis0", "grad.b"),
        ("Cast:1", "lr", "rate"),
        ("Add", "seed one", "new.seed"),
    ]
    for key in ("w", "b"):
        whole += [
            ("Mul", f"{key}.momentum_buffer half", f"{key}.m"),
            ("Add", f"{key}.m grad.{key}", f"new.{key}.momentum_buffer"),
            ("Mul", f"rate new.{key}.momentum_buffer", f"{key}.u"),
            ("Sub", f"{key} {key}.u", f"new.{key}"),
        ]
    grads = [value(f"grad.{k}", TensorProto.FLOAT, SHAPES[k]) for k in ("w", "b")] if gradients else []
    constants = [
        helper.make_tensor("axis0", TensorProto.INT64, [1], [0]),
        helper.make_tensor("half", TensorProto.FLOAT, [], [0.5]),
        helper.make_tensor("one", TensorProto.INT64, [2], [0, 1]),
    ]
    lr, loss = value("lr", TensorProto.DOUBLE, []), value("loss", TensorProto.FLOAT, [])
    _save(folder / f"{name}.onnx", whole, [*inputs, lr, x, y], [*outputs, loss, *grads], constants)
    parameters = [i for i in inputs if i.name in ("w", "b", "frozen")]
    last = ("Add", "xwb frozen", "prediction")
    _save(folder / f"{name}.predict.onnx", [*forward, last], [*parameters, x], [prediction], [])
    save_file(state, folder / f"{name}.safetensors")
    manifest = {
        **{"format": "modgrad-training-step", "version": 1, "modgrad": "0.1.0", "opset": 20, "ir_version": 10},
        **{"model": "Linear", "criterion": "MSELoss", "optimizer": "SGD", "steps": 1},
        "files": {"step": f"{name}.onnx", "predict": f"{name}.predict.onnx", "state": f"{name}.safetensors"},
        "state": [
            {"name": key, "kind": kind, "shape": list(state[key].shape), "dtype": state[key].dtype.name}
            for key, kind in zip(state, KINDS, strict=True)
        ],
        "tensors": tensors,
        "numbers": [{"name": "lr", "input": "lr", "value": LR, "dtype": "float64", "shape": []}],
        "batch": [
            {"input": "x", "shape": ["batch", 3], "dtype": "float32"},
            {"input": "y", "shape": ["batch", 2], "dtype": "int64"},
        ],
        "loss": {"output": "loss", "shape": [], "dtype": "float32"},
        "gradients": [
            {"name": k, "output": f"grad.{k}", "shape": list(SHAPES[k]), "dtype": "float32"}
            for k in (("w", "b") if gradients else ())
        ],
        "predict": {
            "state": ["w", "b", "frozen"],
            "batch": [{"input": "x", "shape": ["batch", 3], "dtype": "float32"}],
            "outputs": [{"output": "prediction", "shape": ["batch", 2], "dtype": "float32"}],
        },
    }
    (folder / f"{name}.json").write_text(json.dumps(manifest))
    return folder / f"{name}.onnx"


def _save(path: Path, rows: list[tuple[str, str, str]], inputs: Any, outputs: Any, constants: Any) -> None:
    nodes = []
    for operation, given, result in rows:
        kind, _, to = operation.partition(":")
        options = {"to": int(to)} if to else {"keepdims": 0} if kind.startswith("Reduce") else {}
        nodes.append(helper.make_node(kind, given.split(), [result], **options))
    graph = helper.make_graph(nodes, "step", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model)
    onnx.save(model, path)

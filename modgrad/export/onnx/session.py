"""A graph in onnxruntime, as its users run it: with the default settings."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from modgrad.export.onnx.errors import ExportError


class Session:
    """Tensors by name in, tensors by name out."""

    def __init__(self, proto: bytes, what: str) -> None:
        import onnxruntime  # noqa: PLC0415

        try:
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 3  # errors; its warnings are of its own concern
            self._session: Any = onnxruntime.InferenceSession(proto, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise ExportError(f"onnxruntime does not take the {what}: {error}") from error
        self.outputs = [output.name for output in self._session.get_outputs()]
        self.inputs = [given.name for given in self._session.get_inputs()]

    def __call__(self, given: dict[str, Tensor]) -> dict[str, Tensor]:
        feed = {name: given[name].contiguous().numpy() for name in self.inputs}
        try:
            results = self._session.run(None, feed)
        except Exception as error:
            raise ExportError(f"onnxruntime failed in the exported graph: {error}") from error
        return {name: torch.from_numpy(np.array(x)) for name, x in zip(self.outputs, results, strict=True)}

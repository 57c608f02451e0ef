"""Why a step cannot be exported."""

from __future__ import annotations


class ExportError(RuntimeError):
    """The step does something that an ONNX graph cannot do, or the graph did not do what the step does."""

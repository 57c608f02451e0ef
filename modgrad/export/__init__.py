"""A training step carried to where PyTorch is not.

`onnx/` writes a TrainingStep as ONNX files, `aoti/` as machine code. `trainer` (OnnxTrainer) runs the former, and
`tensors` reads and writes their state; both need numpy alone, and onnxruntime to run. So importing this package imports
nothing of PyTorch.
"""

from modgrad.export.trainer import OnnxTrainer

__all__ = ["OnnxTrainer"]

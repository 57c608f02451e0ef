"""A training step carried to where PyTorch is not.

`trainer` (OnnxTrainer) runs what was exported, and `tensors` reads and writes its state; both need numpy alone, and
onnxruntime to run. So importing this package imports nothing of PyTorch.
"""

from modgrad.export.trainer import OnnxTrainer

__all__ = ["OnnxTrainer"]

"""`export_onnx`: a training step as ONNX files, checked before they are there."""

from __future__ import annotations

import copy
import json
import os
from typing import TYPE_CHECKING, Any

from safetensors.torch import save
from torch import Tensor
from torch.utils import _pytree as pytree

from modgrad.export.onnx import files
from modgrad.export.onnx.assemble import Assembly
from modgrad.export.onnx.check import check
from modgrad.graph.errors import describe
from modgrad.step.training import parts

if TYPE_CHECKING:
    from modgrad.step.training import TrainingStep


def export_onnx(
    step: TrainingStep,
    path: str | os.PathLike[str],
    *batch: Any,
    steps: int | str = 1,
    gradients: bool = False,
    pack: bool = False,
) -> dict[str, Any]:
    """Write `step` as ONNX files, and give the manifest. See `TrainingStep.export_onnx`."""
    parts(batch)
    if steps not in (1, "scan"):
        raise ValueError(f'export_onnx(steps={steps!r}): expected 1, or "scan" for as many as a batch has stacked')
    called = files.names(path)
    for leaf in pytree.tree_leaves(batch):
        if not isinstance(leaf, Tensor):
            raise TypeError(f"export_onnx: the batch holds {describe(leaf)}, expected tensors alone")
    step = _twin(step)
    assembly = Assembly(step, batch, pack)
    exported = assembly.exported({key: called[key] for key in ("step", "predict", "state")}, steps, gradients)
    check(step, batch, exported)
    with files.draft(path) as folder:
        (folder / called["step"]).write_bytes(exported.finished)
        (folder / called["predict"]).write_bytes(exported.predicting)
        (folder / called["state"]).write_bytes(save(exported.state, {"format": "pt"}))
        (folder / called["manifest"]).write_text(json.dumps(exported.manifest, indent=1) + "\n")
    return exported.manifest


def _twin(step: TrainingStep) -> TrainingStep:
    """A step of its own that has come as far, without a schedule: the learning rate is the client's to give."""
    program, step.program = step.program, None
    try:
        twin = copy.deepcopy(step)
    finally:
        step.program = program
    twin.scheduler = None
    return twin

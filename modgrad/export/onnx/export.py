"""`export_onnx`: a training step as ONNX files, checked before they are there."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save
from torch import Tensor
from torch.utils import _pytree as pytree

from modgrad.export.onnx import files
from modgrad.export.onnx.assemble import Assembly
from modgrad.export.onnx.check import check
from modgrad.export.twin import unscheduled
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
    _refuse_unfit(step, batch)
    step = unscheduled(step)
    assembly = Assembly(step, batch, pack)
    exported = assembly.exported({key: called[key] for key in ("step", "predict", "state")}, steps, gradients)
    check(step, batch, exported)
    with files.draft(path) as folder:
        (folder / called["step"]).write_bytes(exported.finished)
        (folder / called["predict"]).write_bytes(exported.predicting)
        (folder / called["state"]).write_bytes(save(exported.state, {"format": "pt"}))
        (folder / called["manifest"]).write_text(json.dumps(exported.manifest, indent=1) + "\n")
    return exported.manifest


def _refuse_unfit(step: TrainingStep, batch: Any) -> None:
    for leaf in pytree.tree_leaves(batch):
        if not isinstance(leaf, Tensor):
            raise TypeError(f"export_onnx: the batch holds {describe(leaf)}, expected tensors alone")
    held = [(place.name, place.get()) for place in step.places()]
    for name, tensor in [*held, *(("the batch", leaf) for leaf in pytree.tree_leaves(batch))]:
        if tensor.device.type != "cpu":
            raise TypeError(
                f"export_onnx: {name} is on {tensor.device}, and an export is checked on the CPU: move model and batch "
                "there, with .to('cpu')"
            )
        if tensor.dtype is torch.bfloat16:
            raise TypeError(
                f"export_onnx: {name} is bfloat16, of which onnxruntime has no arrays: export a step of model.float(), "
                "whose weights may come from files of bfloat16"
            )

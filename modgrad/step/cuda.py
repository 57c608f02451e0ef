"""A compiled program on a GPU, captured in a CUDA graph: one launch for the whole step.

No GPU was at hand when this was written: it has not been run on one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from modgrad.step.binding import Binding

_WARM_UP = 2  # runs before the capture, in which libraries choose their algorithms and take their memory


class Captured:
    """An AOTInductor model on a GPU, bound to the tensors that it changes, as `native.Native` is on the CPU.

    A captured graph reads and writes fixed places in memory. So the batch and the numbers are copied to places of their
    own before each step; the leaves are changed where they are.
    """

    def __init__(self, package: Path, binding: Binding, batch: Sequence[Tensor], loss: torch.dtype) -> None:
        self.binding = binding
        self._kinds = [(x.shape, x.dtype) for x in batch]
        device = batch[0].device
        self._numbers = [number.to(device) for number in binding.numbers]
        self._given = [x.clone() for x in batch]
        loader = torch._C._aoti.AOTIModelPackageLoader(str(package), "model", True, 1, device.index or 0)
        inputs = [*binding.leaves, *self._numbers, *self._given]
        self._graph, (self._loss,) = captured(lambda: loader.run(inputs), binding.leaves, device)

    def takes(self, batch: Sequence[Any]) -> bool:
        """Whether the program is for such a batch."""
        kinds = [(x.shape, x.dtype) if type(x) is Tensor else None for x in batch]
        return kinds == self._kinds

    def run(self, batch: Sequence[Tensor]) -> Tensor:
        """Do one step. Returns its loss."""
        return self._go(self.binding.numbers, batch)

    def run_many(self, numbers: Sequence[Tensor], batch: Sequence[Tensor], steps: int) -> Tensor:
        """Do `steps` steps. numbers, batch: with a first dimension of `steps`. Returns the losses (steps)."""
        return torch.stack([self._go([n[k] for n in numbers], [x[k] for x in batch]) for k in range(steps)])

    def _go(self, numbers: Sequence[Tensor], batch: Sequence[Tensor]) -> Tensor:
        for place, value in zip((*self._numbers, *self._given), (*numbers, *batch), strict=True):
            place.copy_(value, non_blocking=True)
        self._graph.replay()
        return self._loss.clone()


def captured(run: Any, changed: Sequence[Tensor], device: torch.device) -> tuple[Any, Any]:
    """A CUDA graph of what `run` does, and what it gives, at the place where each replay leaves it.

    changed: what `run` changes in place; it is afterwards what it was before.
    """
    before = [x.clone() for x in changed]
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        for _ in range(_WARM_UP):
            run()
    torch.cuda.current_stream(device).wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = run()
    for x, value in zip(changed, before, strict=True):
        x.copy_(value)
    return graph, result

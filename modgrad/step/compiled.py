"""A compiled training step: called like the step it was made from, run as machine code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from modgrad.graph.errors import describe
from modgrad.step import cache
from modgrad.step.binding import Binding
from modgrad.step.dryrun import dry_run
from modgrad.step.program import function

if TYPE_CHECKING:
    from modgrad.step.training import TrainingStep


class CompiledStep:
    """What `TrainingStep.compile` returns: `loss = compiled(x, y)`; with `steps` K > 1 `losses = compiled(xs, ys)`.

    Model and optimizer stay the owners of all state, which the compiled program changes where it is.

    compilations: how many programs were compiled. loaded: how many were found in the cache instead.
    """

    def __init__(self, step: TrainingStep, backend: str, steps: int, dynamic: bool | None) -> None:
        self.step, self.backend, self.steps, self.dynamic = step, backend, steps, dynamic
        self.compilations = self.loaded = 0
        self._binding: Binding | None = None
        self._spare: Any = None

    def __call__(self, *batch: Any) -> Tensor:
        step = self.step
        leaves, structure = pytree.tree_flatten(batch)
        if self.steps == 1:
            return self._once(leaves, structure)
        for x in leaves:
            if not isinstance(x, Tensor) or not x.dim() or x.shape[0] != self.steps:
                raise ValueError(
                    f"a step compiled with steps={self.steps} takes {self.steps} batches stacked in one tensor, of shape "
                    f"({self.steps}, batch, ...); got {describe(x)}. Write torch.stack(batches)"
                )
        losses = [self._once([x[k] for x in leaves], structure) for k in range(self.steps)]
        return torch.stack(losses)

    def _once(self, batch: list[Any], structure: Any) -> Tensor:
        step = self.step
        binding = self._binding
        if binding is None or not binding.holds():
            binding = self._binding = Binding(step)
        due = step.accumulated + 1 == step.accumulate
        signature = (due, *[(x.shape, x.dtype) if isinstance(x, Tensor) else x for x in batch])
        program = binding.programs.get(signature)
        if program is None:
            program = binding.programs[signature] = self._program(binding, batch, structure, due)
        loss = program.run([*binding.leaves, *[x.contiguous() if isinstance(x, Tensor) else x for x in batch]])[0]
        self._count(binding)
        return loss

    def _count(self, binding: Binding) -> None:
        """What the owners keep beside tensors: the calls since the last update, the sums, the schedule."""
        step = self.step
        step.accumulated = (step.accumulated + 1) % step.accumulate
        if step.accumulate > 1:
            for name, parameter in binding.parameters.items():
                parameter.grad_v = binding.gradients[name] if step.accumulated else None
        if not step.accumulated and step.scheduler is not None:
            step.scheduler.step()

    def _program(self, binding: Binding, batch: list[Any], structure: Any, due: bool) -> Any:
        run = binding.in_place(due)
        given = pytree.tree_unflatten(batch, structure)
        state = pytree.tree_unflatten(binding.leaves, binding.structure)
        lines, _ = dry_run(function(self.step, due), state, given)
        name = cache.key([*lines, self.backend])
        entry, about, there = cache.find_or_make(name, lambda folder: _compile(run, binding.leaves, given, folder))
        self.loaded += there
        self.compilations += not there
        return torch._C._aoti.AOTIModelPackageLoader(str(entry / "step.pt2"), "model", True, 1, -1)


def _compile(run: Any, leaves: list[Tensor], batch: Any, folder: Path) -> dict[str, Any]:
    from torch._inductor import aoti_compile_and_package  # noqa: PLC0415 (takes seconds to import)

    from modgrad.interop.exporting import Program  # noqa: PLC0415

    with torch.no_grad():
        exported = torch.export.export(Program(run), (leaves, batch), strict=False)
        exported = exported.run_decompositions({})
        aoti_compile_and_package(exported, package_path=str(folder / "step.pt2"))
    return {}

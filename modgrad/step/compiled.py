"""A compiled training step: called like the step it was made from, run as machine code."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from modgrad.graph.autocast import refuse_torch_autocast
from modgrad.graph.errors import describe
from modgrad.graph.mode import mode
from modgrad.step import cache, inductor
from modgrad.step.binding import Binding
from modgrad.step.cuda import Captured
from modgrad.step.dryrun import UntraceableError, dry_run
from modgrad.step.locate import locating
from modgrad.step.native import DTYPES, Native, refuse_without_compiler
from modgrad.step.program import exporting
from modgrad.step.shapes import Shapes
from modgrad.step.training import parts

if TYPE_CHECKING:
    from modgrad.step.training import TrainingStep


class CompiledStep:
    """What `TrainingStep.compile` returns: `loss = compiled(x, y)`; with `steps` K > 1 `losses = compiled(xs, ys)`.

    Model and optimizer stay the owners of all state, which the compiled program changes where it is.

    compilations: how many programs were compiled. loaded: how many were found in the cache instead.
    """

    def __init__(self, step: TrainingStep, backend: str, steps: int, dynamic: bool | None) -> None:
        if backend not in DEVICES:
            raise ValueError(f"compile(backend={backend!r}): expected {' or '.join(map(repr, DEVICES))}")
        if not (isinstance(steps, int) and steps >= 1):
            raise ValueError(f"compile(steps={steps!r}): expected how many steps a call takes, from 1 up")
        self.step, self.backend, self.steps, self.dynamic = step, backend, steps, dynamic
        self.device = DEVICES[backend]
        self.compilations = self.loaded = 0
        self._binding: Binding | None = None
        self._last: Native | Captured | None = None  # what ran last, if it is likely to run next

    def __call__(self, *batch: Any) -> Tensor:
        last = self._last
        if last is not None and last.takes(batch) and last.binding.holds():
            loss = last.run(batch)
            if self.step.scheduler is not None:
                self.step.scheduler.step()
            return loss
        if len(batch) == 2 and type(batch[0]) is Tensor and type(batch[1]) is Tensor:
            leaves, structure = list(batch), _PAIR
        else:
            parts(batch)
            leaves, structure = pytree.tree_flatten(batch)
        steps = self.steps
        for x in leaves:
            if not isinstance(x, Tensor) or x.device.type != self.device or x.dtype not in DTYPES:
                raise TypeError(
                    f"a step compiled for {self.device} takes tensors there, of usual dtypes, in tuples, lists and "
                    f"dicts; got {describe(x)}{f' on {x.device}' if isinstance(x, Tensor) else ''}. Convert it, or "
                    "keep what does not change with the batch in the model"
                )
        if steps == 1:
            return self._run(leaves, structure, None)
        for x in leaves:
            if not x.dim() or x.shape[0] != steps:
                raise ValueError(
                    f"a step compiled with steps={steps} takes {steps} batches stacked in one tensor, of shape "
                    f"({steps}, batch, ...); got {describe(x)}. Write torch.stack(batches)"
                )
        if self.step.accumulate == 1:
            return self._run(leaves, structure, steps)
        return torch.stack([self._run([x[k] for x in leaves], structure, None) for k in range(steps)])

    def _run(self, batch: list[Tensor], structure: Any, steps: int | None) -> Tensor:
        """Run `steps` steps on stacked batches, or, where that is None, one on a batch."""
        step = self.step
        due = step.accumulated + 1 == step.accumulate
        signature = (
            steps is None,
            due,
            None if structure is _PAIR else structure,
            *[(x.shape, x.dtype) for x in batch],
        )
        binding = self._binding
        program = binding.programs.get(signature) if binding is not None and binding.holds() else None
        if program is None:
            one = [x.contiguous() if steps is None else x[0].contiguous() for x in batch]
            binding, program = step.prepared(lambda: self._ready(one, structure, due))
            binding.programs[signature] = program
        assert binding is not None
        if steps is not None:
            return program.run_many(binding.schedule(steps), batch, steps)
        loss = program.run(batch)
        self._count(binding)
        self._last = program if step.accumulate == 1 and structure is _PAIR else None
        return loss

    def _count(self, binding: Binding) -> None:
        """What the owners keep beside tensors: the calls since the last update, the sums, the schedule."""
        step = self.step
        step.accumulated = (step.accumulated + 1) % step.accumulate
        if step.accumulate > 1:
            binding.hand_over_sums()
        if not step.accumulated and step.scheduler is not None:
            step.scheduler.step()

    def _ready(self, leaves: list[Tensor], structure: Any, due: bool) -> tuple[Binding, Native | Captured]:
        """The program for batches of this kind, compiled or from the cache; and the binding, made anew if need be."""
        if mode.autocast is None:
            refuse_torch_autocast(type(self.step).__name__)
        binding = self._binding
        if binding is None or not binding.holds():
            binding = self._binding = Binding(self.step)
            for place in self.step.places():
                if place.get().device.type != self.device or place.get().dtype not in DTYPES:
                    raise TypeError(
                        f"{place.name} is {describe(place.get())} on {place.get().device}: backend {self.backend!r} is "
                        f"for usual dtypes on {self.device}. Move the model with .to({self.device!r}), or run the "
                        "step eagerly"
                    )
        program, loss = self._library(binding, leaves, structure, due)
        kind = Native if self.device == "cpu" else Captured
        return binding, kind(program, binding, leaves, loss)

    def _library(self, binding: Binding, batch: list[Tensor], structure: Any, due: bool) -> tuple[Path, torch.dtype]:
        """The shared object of a program for such a batch, and the dtype of its loss.

        A batch size by itself gets a program of its own, which is the fastest. When a second one comes, a program for
        every size is made, if the model allows it; a batch of one is left out of that.
        """
        kind = (structure, due, *[(x.shape[1:], x.dtype) for x in batch])
        sizes = {x.shape[0] for x in batch if x.dim()}
        free = self.dynamic is True or (self.dynamic is None and kind in binding.seen)
        binding.seen.add(kind)
        if free and len(sizes) == 1 and min(sizes) > 1:
            library, loss, about = self._made(binding, batch, structure, due, dynamic=True)
            if about["from"] <= min(sizes) <= about["to"]:
                return library, loss
        library, loss, _ = self._made(binding, batch, structure, due, dynamic=False)
        return library, loss

    def _made(self, binding: Binding, leaves: list[Tensor], structure: Any, due: bool, dynamic: bool) -> Any:
        """A program, compiled or from the cache, and what is noted about it."""
        names = self.step.names()
        lines = [self.backend, "dynamic" if dynamic else "static", f"{torch.get_num_threads()} threads"]
        shapes = Shapes()
        for size in _SIZES if dynamic else [None]:  # for a program of any size, what it does at two of them
            batch = pytree.tree_unflatten([x if size is None else _resized(x, size) for x in leaves], structure)
            done, (_, loss) = dry_run(
                names,
                binding.pure(due),
                binding.leaves,
                binding.numbers,
                batch,
                constants=binding.constants,
                shapes=shapes,
            )
            lines += done
        shapes.save()
        batch = pytree.tree_unflatten(leaves, structure)
        entry, about, there = cache.find_or_make(
            cache.key(lines),
            lambda folder: packaged(binding, binding.in_place(due), batch, folder, dynamic, self.device),
        )
        self.loaded += there
        self.compilations += not there
        return entry / ("step.so" if self.device == "cpu" else "step.pt2"), loss.dtype, about


DEVICES = {"aotinductor": "cpu", "cudagraph": "cuda"}  # the device that each backend is for
_PAIR = pytree.tree_structure((0, 0))
_SIZES = (6, 10)


def _resized(x: Tensor, size: int) -> Tensor:
    return x[torch.arange(size, device=x.device) % x.shape[0]] if x.dim() else x


def packaged(binding: Binding, run: Any, batch: Any, folder: Path, dynamic: bool, device: str) -> dict[str, Any]:
    """Put the compiled program into `folder`. Returns for which batch sizes it is: none, if `dynamic` failed."""
    refuse_without_compiler()
    from modgrad.interop.exporting import Program  # noqa: PLC0415

    package = folder / "step.pt2"
    free = {0: torch.export.Dim.AUTO}
    state, inputs = binding.leaves, (binding.numbers, batch)
    shapes = None
    if dynamic:
        of_batch = pytree.tree_map(lambda x: free if x.dim() else None, batch)
        shapes = ([None] * len(state), ([None] * len(binding.numbers), of_batch))
    names = binding.step.names()
    with locating(names), exporting(names):
        program = Program(lambda leaves, rest: run(leaves, *rest))
        exported = torch.export.export(program, (state, inputs), dynamic_shapes=shapes, strict=False)
        low, high = inductor.sizes(exported) if dynamic else (1, 0)
        if dynamic and low > high:
            return {"from": low, "to": high}
        exported = exported.run_decompositions({})
    inductor.package({"model": exported}, package)
    if device == "cpu":
        _unpack(package, folder / "step.so")
    return {"from": low, "to": high}


def _unpack(package: Path, library: Path) -> None:
    """Take the shared object out of a package, which then needs nothing else."""
    with zipfile.ZipFile(package) as archive:
        names = archive.namelist()
        (source,) = (name for name in names if name.endswith(".wrapper.cpp"))
        if "aoti_torch_proxy_executor_call_function(" in archive.read(source).decode().partition("::run_impl(")[2]:
            raise UntraceableError(
                "the step has an operation that PyTorch's compiled programs call through a part of PyTorch that they "
                "do not have by themselves. Run it eagerly"
            )
        (shared,) = (name for name in names if name.endswith(".so"))
        library.write_bytes(archive.read(shared))
    package.unlink()

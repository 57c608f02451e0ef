"""TrainingStep: model, criterion and optimizer as one thing to be called once for each batch."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from modgrad.graph import Module, Parameter, Randomness, autocast, no_grad
from modgrad.graph.call import is_variable, plain
from modgrad.graph.errors import describe
from modgrad.graph.mode import mode
from modgrad.graph.walk import backward
from modgrad.optim import Optimizer
from modgrad.optim.clipping import clip_grad_norm_
from modgrad.optim.lr_scheduler import ReduceLROnPlateau
from modgrad.step import state as states
from modgrad.step.dryrun import dry_run
from modgrad.step.listing import TracedStep
from modgrad.step.locate import Paths, paths

if TYPE_CHECKING:
    from modgrad.step.compiled import CompiledStep

_plainly = torch._C.DisableTorchFunctionSubclass
_UNSCALED = (
    "In float16 small gradients become 0, unless the loss is scaled: write a loop of your own, with nn.autocast and an "
    "optim.GradScaler"
)


class TrainingStep:
    """One step of training as a value: `loss = step(x, y)` runs forward, backward and update.

    >>> from modgrad import nn, optim
    >>> model = nn.Linear(2, 3)
    >>> step = TrainingStep(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.1))
    >>> loss = step(torch.randn(8, 2), torch.randint(3, (8,)))

    model: called with all of the batch but its last part. criterion: called with what the model gave and the last part.
    optimizer: updates those of its parameters whose grad_f is True.
    clip: the largest 2-norm that the gradients of one update may have, taken together; None leaves them as they are.
    accumulate: over how many calls the gradients are averaged before an update. The equal of one call with a batch that
        many times as large, where the loss is a mean over equally large batches.
    scheduler: anything whose `step()` changes the optimizer's `param_groups`; called after each update.
    fuse_update: update each parameter as soon as its gradient is there, and let the gradient go, so that the gradients
        never all exist at once. Not with `clip`.

    seed: of dropout's masks, which are then drawn from it and the number of the step, the same ones eagerly, traced and
        compiled. None: eagerly from torch's generator, as in any loop; a traced or compiled step, which can have no
        hidden generator, takes a seed from torch's generator when it is made.

    autocast: torch.bfloat16 runs model and criterion inside `nn.autocast(torch.bfloat16)`; parameters, gradients and
        update stay as they are. None: as the call finds it.

    The step owns the gradients: none is left afterwards, but for sums that are still to be added to. Model and
    optimizer keep all other state, which is current after every step.
    """

    def __init__(
        self,
        model: Module,
        criterion: Module,
        optimizer: Optimizer,
        clip: float | None = None,
        accumulate: int = 1,
        scheduler: Any = None,
        *,
        fuse_update: bool = False,
        seed: int | None = None,
        autocast: torch.dtype | None = None,
    ) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(
                f"TrainingStep: optimizer is {describe(optimizer)}, expected one of modgrad.optim. PyTorch's own "
                "optimizers work in a loop of your own, with loss.backward() and optimizer.step()"
            )
        for name, module in (("model", model), ("criterion", criterion)):
            if not isinstance(module, Module):
                raise TypeError(f"TrainingStep: {name} is {describe(module)}, expected a modgrad.nn.Module")
        if optimizer.unfit:
            raise TypeError(f"TrainingStep: {type(optimizer).__name__} {optimizer.unfit}")
        if isinstance(scheduler, ReduceLROnPlateau):
            raise TypeError(
                "TrainingStep: ReduceLROnPlateau goes by a number that the step does not have, as a validation loss: "
                "leave it out here, and call its step(loss) after each epoch. The step takes up the new lr"
            )
        if clip is not None and not clip > 0:
            raise ValueError(f"TrainingStep(clip={clip}): expected a norm above 0, or None for no clipping")
        if not (isinstance(accumulate, int) and accumulate >= 1):
            raise ValueError(f"TrainingStep(accumulate={accumulate!r}): expected a number of calls, from 1 up")
        if scheduler is not None and not callable(getattr(scheduler, "step", None)):
            raise TypeError(f"TrainingStep: scheduler is {describe(scheduler)}, expected something with a step()")
        if fuse_update and clip is not None:
            raise ValueError(
                "TrainingStep(fuse_update=True, clip=...): the norm of all gradients is known only when the last one "
                "is there, so no parameter could be updated before. Leave one of the two out"
            )
        if autocast not in (None, torch.bfloat16):
            raise ValueError(f"TrainingStep(autocast={autocast}): expected torch.bfloat16 or None. {_UNSCALED}")
        self.model, self.criterion, self.optimizer = model, criterion, optimizer
        self.autocast = autocast
        self.clip, self.accumulate, self.scheduler, self.fuse_update = clip, accumulate, scheduler, fuse_update
        # What traced randomness is drawn from: (seed, number of the step). None while nothing needs it.
        self.randomness: Tensor | None = None if seed is None else torch.tensor([seed, 0])
        self._keyed = seed is not None  # whether it is used eagerly too
        self.accumulated = 0  # calls since the last update
        self.program: TracedStep | None = None  # what `trace` found last
        updated = {id(p) for group in optimizer.param_groups for p in group["params"]}
        self._others = [p for p in self.parameters().values() if id(p) not in updated]
        strangers = updated - {id(p) for p in self.parameters().values()}
        if strangers:
            raise ValueError(
                f"TrainingStep: {len(strangers)} of the optimizer's parameters belong neither to the model nor to the "
                "criterion, and would never get a gradient: give the optimizer model.parameters()"
            )

    def parameters(self) -> dict[str, Parameter]:
        """Every parameter by name: the model's own names, those of the criterion after "criterion."."""
        return states.named_parameters(self.model, self.criterion)

    def __call__(self, *batch: Any) -> Tensor:
        """Train on one batch. Returns its loss, from before the update, as a plain tensor."""
        inputs, target = parts(batch)
        first = self.accumulated == 0
        last = self.accumulated + 1 == self.accumulate
        if first:
            self._forget()
        if self._keyed:
            with Randomness(self.randomness):  # type: ignore[arg-type]
                return self._train(inputs, target, last)
        return self._train(inputs, target, last)

    def _train(self, inputs: tuple[Any, ...], target: Any, last: bool) -> Tensor:
        with self.casting():
            loss = self.criterion(self.model(*inputs), target)
        refuse_unfit(loss)
        value: Tensor = plain(loss)
        gradient = None if self.accumulate == 1 else torch.full_like(value, 1 / self.accumulate)
        if self.fuse_update and last:
            self._backward_and_update(loss, gradient)
        else:
            loss.backward(gradient)
        self.accumulated += 1
        if self._keyed:
            self.randomness[1] += 1  # type: ignore[index]
        if last:
            self._update()
        return value

    def evaluate(self, *batch: Any) -> Tensor:
        """The loss of a batch, by the forward alone, with model and criterion in evaluation mode. Nothing changes."""
        inputs, target = parts(batch)
        modules = [*self.model.modules(), *self.criterion.modules()]
        training = [module.training for module in modules]
        try:
            self.model.eval()
            self.criterion.eval()
            with no_grad(), self.casting():
                return plain(self.criterion(self.model(*inputs), target))
        finally:
            for module, before in zip(modules, training, strict=True):
                module.training = before

    def casting(self) -> AbstractContextManager[Any]:
        """What model and criterion run inside."""
        if self.autocast is not None:
            return autocast(self.autocast)
        if mode.autocast is not None and torch.float16 in mode.autocast.dtypes.values():
            raise RuntimeError(f"TrainingStep inside autocast to torch.float16. {_UNSCALED}")
        return nullcontext()

    @property
    def state(self) -> states.State:
        """All that a step reads and changes, by kind and name: the very tensors that model and optimizer hold.

        parameters, buffers, optimizer (its state of each parameter), gradients and count (of calls since the last
        update, where they are accumulated), schedule (the optimizer's numbers, as they are now).
        """
        parameters = self.parameters()
        states.complete(self.optimizer, parameters)
        found: states.State = {}
        with _plainly():
            for place in self.places():
                found.setdefault(place.kind, {})[place.name] = place.get().detach()
            if self.accumulate > 1:
                found[states.GRADIENTS] = {
                    name: p.grad if self.accumulated and p.grad is not None else torch.zeros_like(p)
                    for name, p in states.updated(self.optimizer, parameters)
                }
                found[states.COUNT] = {states.COUNT: torch.tensor(self.accumulated)}
        if self.randomness is not None:
            found[states.RANDOMNESS] = {"seed": self.randomness}
        groups = self.optimizer.param_groups
        found[states.SCHEDULE] = {
            hyper.label: torch.tensor(hyper.get(groups), dtype=torch.float64) for hyper in states.hypers(self.optimizer)
        }
        return found

    def places(self) -> list[states.Place]:
        """Where the tensors of the state are kept, each by its owner."""
        return states.places(self.model, self.criterion, self.optimizer, self.parameters())

    def names(self) -> Paths:
        """The dotted names of all modules, by identity, as a trace tells where an operation came from."""
        return paths({"": self.model, "criterion": self.criterion})

    def compile(self, backend: str | None = None, steps: int = 1, dynamic: bool | None = None) -> CompiledStep:
        """This step as machine code, to be called in the same way.

        backend: "aotinductor" for the CPU, "cudagraph" for a GPU; None is the one for where the parameters are.
        steps: how many steps a call takes, with as many batches stacked in one tensor.
        dynamic: whether a program is for every batch size, if the model allows it. None: the first size gets a program
            for it alone, which is the fastest, and when a second one comes, that is for every size.
        """
        from modgrad.step.compiled import CompiledStep  # noqa: PLC0415

        if backend is None:
            backend = "cudagraph" if any(p.is_cuda for p in self.parameters().values()) else "aotinductor"
        return CompiledStep(self, backend, steps, dynamic)

    def trace(self, *batch: Any, dynamic: bool = True) -> Any:
        """The step as a pure function (state, batch) -> (state, loss): a torch.export.ExportedProgram.

        `step.state` is such a state, `(x, y)` such a batch. The batch size is free where the model allows it, unless
        `dynamic` is False. Gradients are the operations named grad_..., what the update gives those named new_...;
        `print(step.program)` shows each operation with the module whose forward or backward it came from.
        """
        from modgrad.step.program import PureStep, export  # noqa: PLC0415 (torch.export takes a second to import)

        parts(batch)
        self.prepared(lambda: dry_run(self.names(), PureStep(self), self.state, batch))
        exported = export(self, self.state, batch, dynamic)
        self.program = TracedStep(exported)
        return exported

    def export_aoti(
        self, path: str | os.PathLike[str], *batch: Any, dynamic: bool | None = None, pack: bool = False
    ) -> dict[str, Any]:
        """Write this step as an AOTInductor package: machine code, which libtorch trains with from C++, without Python.

        For the path "mlp.pt2" there are afterwards

            mlp.pt2            two programs, "step": (state, learning rates, batch) -> (new state, loss), and
                               "predict": (parameters and buffers, inputs) -> prediction, in evaluation mode
            mlp.safetensors    the state to begin with, by the names that `state` has
            mlp.pt2.json       the manifest: inputs and outputs in order, shapes, dtypes

        and the manifest is returned, which is as that of `export_onnx`. All but learning rates and batch is part of the
        program: the optimizer's other numbers, which a scheduler must not change, clip and accumulate; and so are the
        processor, PyTorch's version and the number of threads (torch.get_num_threads()) that it is compiled for.

        batch: such as the step is called with; its values serve the check only.
        dynamic: whether the batch size is free, which costs a little speed. None: if the model allows it, as the
            manifest's shapes tell. True: raise where it does not. False: the step's is that of `batch`.
        pack: as for `export_onnx`.

        Before anything is written the package is run and held against this step (see `modgrad.export.aoti.check`), and
        refused with an ExportError if it differs. Nothing of the step changes. Needs a C++ compiler.
        """
        export = import_module("modgrad.export.aoti.export").export_aoti  # which imports this room, not the other way
        return export(self, path, *batch, dynamic=dynamic, pack=pack)

    def export_onnx(
        self,
        path: str | os.PathLike[str],
        *batch: Any,
        steps: int | str = 1,
        gradients: bool = False,
        pack: bool = False,
    ) -> dict[str, Any]:
        """Write this step as an ONNX graph of standard operators, which any ONNX runtime trains with.

        For the path "mlp.onnx" there are afterwards

            mlp.onnx           one training step: (state, learning rate, batch) -> (new state, loss)
            mlp.predict.onnx   the model in evaluation mode: (parameters, buffers, inputs) -> prediction
            mlp.safetensors    the state to begin with, by the names that `state` has
            mlp.json           the manifest: which output becomes which input of the next step, shapes, dtypes

        and the manifest is returned. Inputs are the state's tensors by their names, "lr" (float64; "0.lr", "1.lr" where
        the optimizer has several groups), "x" and "y" ("x0", "x1" where the batch has several); outputs are
        "new.<name>" and "loss". The other hyper-parameters are constants of the graph: a scheduler that changes them is
        refused. The batch size is free where the model allows it. Dropout's masks are drawn from the input "seed",
        which the step counts on.

        batch: as the step is called with; its values serve the check only, its shapes where they are not free.
        steps: 1; or "scan" for as many steps as there are batches stacked in "x" and "y", with a learning rate and a
            loss for each.
        gradients: give them too, as "grad.<name>".
        pack: keep the parameters of one kind in one flat tensor, and so the optimizer's state of them: faster where
            parameters are small and many. The manifest says where each is.

        Before anything is written the graph is run in onnxruntime and held against this step (see
        `modgrad.export.onnx.check`), and refused with an ExportError if it differs. Nothing of the step changes.
        Needs onnx and onnxruntime: pip install modgrad[onnx].
        """
        for name in ("onnx", "onnxruntime"):
            if find_spec(name) is None:
                raise ModuleNotFoundError(
                    f"export_onnx needs {name}, which is not installed: pip install modgrad[onnx]", name=name
                )
        export = import_module("modgrad.export.onnx.export").export_onnx  # which imports this room, not the other way
        return export(self, path, *batch, steps=steps, gradients=gradients, pack=pack)

    def prepared(self, trace: Callable[[], Any]) -> Any:
        """What `trace` gives, after the state has been given what it finds missing."""
        from modgrad.step.program import SharedError, UnseededError  # noqa: PLC0415

        while True:
            try:
                return trace()
            except UnseededError:
                self.randomness = torch.stack([torch.randint(2**31, ()), torch.tensor(0)])
            except SharedError as error:
                for parameter in error.parameters:
                    own = self.optimizer.state[parameter]
                    own.update({k: v.clone() for k, v in own.items() if isinstance(v, Tensor) and not v.dim()})

    def _update(self) -> None:
        self.accumulated = 0
        if self.clip is not None:
            clip_grad_norm_([p for _, p in states.updated(self.optimizer, self.parameters())], self.clip)
        self.optimizer.step()
        self._forget()
        if self.scheduler is not None:
            self.scheduler.step()

    def _forget(self) -> None:
        self.optimizer.zero_grad()
        with _plainly():
            for parameter in self._others:
                parameter.grad = None

    def _backward_and_update(self, loss: Any, gradient: Tensor | None) -> None:
        refuse_hooks(self.optimizer, "with fuse_update")
        group_of = {id(p): group for group in self.optimizer.param_groups for p in group["params"] if p.grad_f}

        def arrived(parameter: Any) -> None:
            group = group_of.get(id(parameter))
            if group is not None and parameter.grad is not None:
                self.optimizer.update([parameter], [parameter.grad], [self.optimizer.state[parameter]], group)
                parameter.grad = None

        with self.optimizer.in_parts():
            backward(loss, gradient, retain=False, arrived=arrived)


def refuse_hooks(optimizer: Optimizer, where: str) -> None:
    """Raise if somebody wants to be told of each step of an optimizer where it takes none as a whole."""
    if optimizer.has_step_hooks:
        raise RuntimeError(
            f"TrainingStep: {type(optimizer).__name__} has hooks around its step, which would not be called {where}. "
            "Remove them, or run the step eagerly without fuse_update"
        )


def refuse_unfit(loss: Any) -> None:
    """Raise for a loss that nothing can be trained by."""
    if not isinstance(loss, Tensor) or loss.shape.numel() != 1:
        raise TypeError(
            f"TrainingStep: the criterion gave {describe(loss)}, expected a loss of one number: reduce it first, as "
            'with .mean(), or reduction="mean"'
        )
    if not is_variable(loss):
        raise RuntimeError(
            "TrainingStep: the loss was not recorded, so that nothing would be trained. Is every parameter frozen, "
            "or the call within nn.no_grad()?"
        )


def parts(batch: tuple[Any, ...]) -> tuple[tuple[Any, ...], Any]:
    """The model's inputs and the criterion's target."""
    if len(batch) < 2:
        raise TypeError(
            f"step was given {len(batch)} argument{'' if len(batch) == 1 else 's'}: write step(x, y), the model's "
            "inputs and then the criterion's target"
        )
    return batch[:-1], batch[-1]

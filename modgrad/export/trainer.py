"""OnnxTrainer: an exported training step, run with numpy and onnxruntime. Nothing here imports PyTorch."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from modgrad.export import tensors
from modgrad.export.arrays import Array, batch_of, numbers_of, value_of
from modgrad.export.manifest import Manifest

__all__ = ["OnnxTrainer"]

Source = str | os.PathLike[str] | Mapping[str, Any]


class OnnxTrainer:
    """Trains what `TrainingStep.export_onnx` wrote: `loss = trainer.step(x, y)`.

    path: of the step's .onnx file; the files that were written with it lie beside it.
    state: to start from, a .safetensors file or arrays by name, taken as by `load`; None is the state at export.
    threads: that onnxruntime works with. None: one for each core. For small models 1 is fastest.

    The state is never copied: a step reads it from one set of buffers and writes it to another, and the next step goes
    back. Not to be used from several threads at once.   Raises FileNotFoundError, and ValueError for files that are
    damaged or do not belong together.
    """

    def __init__(self, path: str | os.PathLike[str], state: Source | None = None, threads: int | None = None) -> None:
        if threads is not None and not (isinstance(threads, int) and threads >= 1):
            raise ValueError(f"OnnxTrainer(threads={threads!r}): expected a number from 1 up, or None")
        self.manifest = Manifest.read(path)
        self._threads = threads
        self._session = self._opened_step()
        self._predict_session: Any = None
        self._numbers = numbers_of(self.manifest.numbers, None, None)
        changed = [tensor for tensor in self.manifest.tensors if tensor.output is not None]
        self._now = {tensor.name: np.zeros(tensor.sizes(), tensor.dtype) for tensor in self.manifest.tensors}
        self._next = {**self._now, **{tensor.name: np.zeros(tensor.sizes(), tensor.dtype) for tensor in changed}}
        outputs = [self.manifest.loss, *self.manifest.gradients.values()]
        self._outputs = {port.name: np.zeros(port.sizes(), port.dtype) for port in outputs if port.is_fixed}
        self._free = [port for port in outputs if not port.is_fixed]  # as long as there are steps in a call
        self._bindings = [self._bound(self._now, self._next), self._bound(self._next, self._now)]
        self._has_gradients = False  # before the first step there are none
        self._begin()
        if state is not None:
            self.load(state) if isinstance(state, (str, os.PathLike)) else self.assign(state)

    def step(self, *batch: Any, lr: Any = None) -> Any:
        """Train on one batch, `step(x, y)`. Returns its loss, from before the update, as a float.

        batch: the model's inputs and then the criterion's target, arrays of the shapes and dtypes in `manifest.batch`.
            Where the export was of steps="scan", several batches are stacked in each, (steps, batch, ...), one step is
            taken with each in turn, and the losses come as an array, (steps,).
        lr: the learning rate of this call; None is the one at export. One for each group of the optimizer if it has
            several; with stacked batches each may be an array, (steps,).

        An array of another shape or dtype is refused: integers are taken in any integer dtype, floats in no wider one.
        A loss that is NaN or infinite raises FloatingPointError where the step would leave such numbers in the state.
        After any error the state is what it was before; with stacked batches, before the first of them.
        """
        manifest = self.manifest
        feeds, sizes = batch_of(manifest.batch, batch, "step")
        if lr is None and not manifest.scan:
            feeds |= self._numbers
        else:
            feeds |= numbers_of(manifest.numbers, lr, sizes["steps"] if manifest.scan else None)
        binding = self._bindings[0]
        for name, array in feeds.items():
            binding.bind_cpu_input(name, array)
        for port in self._free:
            self._outputs[port.name] = np.empty(port.sizes(sizes), port.dtype)
            binding.bind_ortvalue_output(port.name, _ort_value(self._outputs[port.name]))
        self._has_gradients = False
        try:
            self._session.run_with_iobinding(binding)
        except Exception as error:
            raise RuntimeError(f"step failed, and the state is as it was before. onnxruntime says: {error}") from error
        buffer = self._outputs[manifest.loss.name]
        loss = buffer.copy() if buffer.ndim else buffer.item()
        if not (np.isfinite(loss).all() if buffer.ndim else math.isfinite(loss)):
            self._refuse_spoilt(loss)
        self._bindings.reverse()
        self._now, self._next = self._next, self._now
        self._has_gradients = True
        return loss

    def predict(self, *inputs: Any) -> Any:
        """What the model gives for `predict(x)`, in evaluation mode, with the state as it is now.

        An array; a tuple of them where the model has several outputs.
        """
        manifest = self.manifest
        feeds, _ = batch_of(manifest.predict_batch, inputs, "predict")
        if self._predict_session is None:
            self._predict_session = self._opened_predict()
        binding = self._predict_session.io_binding()
        for name in manifest.predict_state:
            binding.bind_cpu_input(name, self._now[name])
        for name, array in feeds.items():
            binding.bind_cpu_input(name, array)
        for port in manifest.predictions:
            binding.bind_output(port.name)
        try:
            self._predict_session.run_with_iobinding(binding)
        except Exception as error:
            raise RuntimeError(f"predict failed. onnxruntime says: {error}") from error
        found = tuple(np.array(value.numpy()) for value in binding.get_outputs())
        return found if len(found) > 1 else found[0]

    @property
    def state(self) -> dict[str, Array]:
        """Copies of all tensors of the state by name: parameters, buffers, the optimizer's, the seed of masks."""
        return {name: view.copy() for name, view in self._views(self._now).items()}

    @property
    def gradients(self) -> dict[str, Array]:
        """Copies of the gradients of the last step by the parameters' names, if the export was of gradients=True.

        Where the export was of steps="scan" those of each of the stacked batches, (steps, ...).
        """
        if not self.manifest.gradients:
            raise RuntimeError("the step gives no gradients out: export it with step.export_onnx(..., gradients=True)")
        if not self._has_gradients:
            raise RuntimeError("there are no gradients: no step was taken yet, or the last one failed. Call step first")
        return {name: self._outputs[port.name].copy() for name, port in self.manifest.gradients.items()}

    def assign(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Take over arrays by name. All parameters must be there, and of every other kind of state all or nothing.

        So the weights of a model alone leave the optimizer's state as it is. strict=False: what is missing stays as it
        is, and what has another name is left out; if that is all, it is an error. A tensor of a dtype that the step's
        does not hold is refused. After any error the state is what it was before.
        """
        self._assign(state, strict, "assign")

    def load(self, path: str | os.PathLike[str], strict: bool = True) -> None:
        """Take over the tensors of a .safetensors file, as `assign` does.

        Such are written by `save`, by `modgrad.save(model.state_dict(), path)`, and by any program that stores a model
        of these parameter names.
        """
        self._assign(tensors.read(path), strict, str(path))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the state to a .safetensors file, whole or not at all. `modgrad.load` gives its tensors by name."""
        tensors.write(self._views(self._now), path)

    def __repr__(self) -> str:
        manifest = self.manifest
        count = sum(named.size for named in manifest.named.values() if named.kind == "parameter")
        return f"OnnxTrainer({manifest.step.name}: {manifest.model} of {count:,} parameters, {manifest.optimizer})"

    def _assign(self, state: Mapping[str, Any], strict: bool, where: str) -> None:
        known = self.manifest.named
        if strict:
            _check_names(known, state, where)
        values = {name: value_of(known[name], value, where) for name, value in state.items() if name in known}
        if state and not values:
            raise ValueError(
                f"{where}: none of the tensors, as {next(iter(state))!r}, is of this step, which has "
                f"{next(iter(known))!r} and others: is this the state of another model?"
            )
        views = self._views(self._now)
        for name, value in values.items():
            views[name][...] = value

    def _begin(self) -> None:
        """Take over the state at export, all of it."""
        file = self.manifest.state
        state = tensors.read(file)
        missing = [name for name in self.manifest.named if name not in state]
        if missing:
            raise ValueError(
                f"{file} is not the state at export any more, it lacks {missing[0]!r}: export anew. Weights alone go "
                "into a file of another name, and come in by OnnxTrainer(path, state=file)"
            )
        self._assign(state, True, str(file))

    def _refuse_spoilt(self, loss: Any) -> None:
        """Raise if the step that gave this loss leads to a state that is not finite.

        It may be finite all the same, as after a batch in which every target is ignored: 0 / 0, and no gradient.
        """
        now, new = self._views(self._now), self._views(self._next)
        changing = [name for tensor in self.manifest.tensors if tensor.output for name, _ in tensor.holds]
        spoilt = next((name for name in changing if not np.isfinite(new[name]).all()), None)
        if spoilt is None:
            return
        if not np.isfinite(now[spoilt]).all():
            raise FloatingPointError(
                f"the loss is {loss}: {spoilt!r} was not finite before the step. Load a state that was saved earlier"
            )
        raise FloatingPointError(
            f"the loss is {loss}, and {spoilt!r} would not be finite after the step: the state is as it was before. "
            "Look for NaN and very large numbers in the batch, or give a smaller lr"
        )

    def _views(self, buffers: Mapping[str, Array]) -> dict[str, Array]:
        """The named tensors, where they lie in these buffers."""
        named, found = self.manifest.named, {}
        for tensor in self.manifest.tensors:
            flat = buffers[tensor.name].reshape(-1)
            for name, offset in tensor.holds:
                found[name] = flat[offset : offset + named[name].size].reshape(named[name].sizes())
        return {name: found[name] for name in named}

    def _opened_step(self) -> Any:
        manifest = self.manifest
        inputs = {port.name for port in (*manifest.tensors, *manifest.numbers, *manifest.batch)}
        outputs = {port.name for port in (manifest.loss, *manifest.gradients.values())}
        outputs |= {tensor.output for tensor in manifest.tensors if tensor.output is not None}
        return _session(manifest, manifest.step, inputs, outputs, self._threads)

    def _opened_predict(self) -> Any:
        manifest = self.manifest
        inputs = {*manifest.predict_state, *(port.name for port in manifest.predict_batch)}
        return _session(manifest, manifest.predict, inputs, {port.name for port in manifest.predictions}, self._threads)

    def _bound(self, before: Mapping[str, Array], after: Mapping[str, Array]) -> Any:
        """A binding of the step from the buffers `before` to the buffers `after`."""
        binding = self._session.io_binding()
        for tensor in self.manifest.tensors:
            binding.bind_ortvalue_input(tensor.name, _ort_value(before[tensor.name]))
            if tensor.output is not None:
                binding.bind_ortvalue_output(tensor.output, _ort_value(after[tensor.name]))
        for name, buffer in self._outputs.items():
            binding.bind_ortvalue_output(name, _ort_value(buffer))
        return binding


def _check_names(known: Mapping[str, Any], state: Mapping[str, Any], where: str) -> None:
    """Raise unless all parameters are there, and of each other kind all or none."""
    kinds = {known[name].kind for name in state if name in known} | {"parameter"}
    missing = [name for name, named in known.items() if named.kind in kinds and name not in state]
    strange = [name for name in state if name not in known]
    if missing or strange:
        parts = [f"{len(missing)} are missing, as {missing[0]!r}"] if missing else []
        parts += [f"{len(strange)} are not of this step, as {strange[0]!r}"] if strange else []
        raise ValueError(
            f"{where}: of the tensors, {' and '.join(parts)}. With strict=False what is missing stays as it is, and "
            "what is not of this step is left out"
        )


def _ort_value(array: Array) -> Any:
    """The array's own memory, as onnxruntime wants to be told of it."""
    return _onnxruntime().OrtValue.ortvalue_from_numpy(array)


def _onnxruntime() -> Any:
    try:
        import onnxruntime  # noqa: PLC0415 (here, so that what else is in this package does without)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("OnnxTrainer needs onnxruntime: pip install onnxruntime", name=error.name) from error
    return onnxruntime


def _session(manifest: Manifest, path: Path, inputs: set[str], outputs: set[str], threads: int | None) -> Any:
    """The graph in `path`, which has these inputs and outputs if it is the one that the manifest was written with."""
    ort = _onnxruntime()
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}, which {manifest.path.name} names: export anew")
    options = ort.SessionOptions()
    options.log_severity_level = 4  # errors are raised
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ValueError(f"{path}: onnxruntime {ort.__version__} does not take it: {error}") from error
    for what, said, ports in (("inputs", inputs, session.get_inputs()), ("outputs", outputs, session.get_outputs())):
        strange = sorted(said ^ {port.name for port in ports})
        if strange:
            raise ValueError(
                f"{path} has other {what} than {manifest.path.name} says, as {strange[0]!r}: they are of different "
                "exports. Export anew"
            )
    return session

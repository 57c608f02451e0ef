"""Computing again in backward what was not kept: under the same conditions, and a value's stand-in until then."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from weakref import ref

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from modgrad.graph.autocast import anew, under
from modgrad.graph.call import COMPUTED_AGAIN, Call, Plain, stand_in_for
from modgrad.graph.errors import describe
from modgrad.graph.mode import mode, switched

_plainly = torch._C.DisableTorchFunctionSubclass


class Conditions:
    """What a module's result depends on beside its inputs: `training`, buffers, random generators.

    Made before forward; `settle` after it lets go of what forward did not touch; inside `again` they are as they were,
    and afterwards as they are now. So BatchNorm's running statistics move once, and dropout drops the same.
    """

    def __init__(self, module: Any, inputs: Iterable[Any]) -> None:
        modules = list(module.modules())
        self.training = [(m.__dict__, m.training) for m in modules]
        self.parameters = [p for m in modules for n in m._parameter_names if (p := m.__dict__[n]) is not None]
        self.buffers = [
            (m.__dict__, name, buffer, buffer._version, buffer.clone())
            for m in modules
            for name in m._buffer_names
            if (buffer := m.__dict__[name]) is not None
        ]
        self.unchanged: list[Tensor] = []  # buffers that forward leaves alone, and everybody must until backward
        self.autocast = mode.autocast
        self.randomness = mode.randomness
        self.mark = None if self.randomness is None else self.randomness.mark()
        self.generators: list[tuple[torch.Generator, Tensor]] = []
        if not mode.tracing:  # where torch's own generators are refused, see `drawing_refused`
            tensors = (*inputs, *self.parameters)
            self.generators = [(g, g.get_state()) for g in _generators(tensors)]

    def settle(self) -> None:
        changed = []
        for own, name, buffer, version, before in self.buffers:
            if own[name] is buffer and buffer._version == version:
                self.unchanged.append(buffer)
            else:
                changed.append((own, name, buffer, version, before))
        self.buffers = changed
        self.generators = [(g, state) for g, state in self.generators if not torch.equal(g.get_state(), state)]

    @contextmanager
    def again(self) -> Iterator[None]:
        training = [(own, own["training"]) for own, _ in self.training]
        buffers = [(own, name, own[name]) for own, name, *_ in self.buffers]
        generators = [(g, g.get_state()) for g, _ in self.generators]
        randomness = self.randomness
        mark = None if randomness is None else randomness.mark()
        try:
            for own, was in self.training:
                own["training"] = was
            for own, name, _, _, before in self.buffers:
                own[name] = before.clone()
            for generator, state in self.generators:
                generator.set_state(state)
            if randomness is not None:
                randomness.rewind(self.mark)
            casting = self.autocast is not None or mode.autocast is not None
            with switched(randomness=randomness), under(anew(self.autocast)) if casting else nullcontext():
                yield
        finally:
            for own, was in training:
                own["training"] = was
            for own, name, buffer in buffers:
                own[name] = buffer
            for generator, state in generators:
                generator.set_state(state)
            if randomness is not None:
                randomness.rewind(mark)


def _generators(tensors: Iterable[Any]) -> list[torch.Generator]:
    """torch's default generators: the CPU's, and those of the accelerators that any of `tensors` is on."""
    found = [torch.default_generator]
    if torch.cuda.is_initialized():
        numbers = {t.device.index for t in tensors if isinstance(t, Tensor) and t.device.type == "cuda"}
        found += [torch.cuda.default_generators[i] for i in sorted(numbers)]
    return found


class DrawingRefused(TorchDispatchMode):
    """Inside, drawing from torch's own generators raises: a traced program could not draw the same again."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # or the first operation would import PyTorch's compiler, which takes two seconds

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.module = module

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.nondeterministic_seeded in func.tags:
            raise RuntimeError(
                f"recompute({type(self.module).__name__}) draws random numbers by {func} while it is traced, and the "
                "traced program could not draw the same again. Trace inside Randomness(seed), or without recompute: "
                "nn.recompute(module, False)"
            )
        return func(*args, **(kwargs or {}))


class ComputedAgain:
    """Stands for the output of a marked primitive in what later calls have saved.

    When the first of them needs it, it is computed again, once, and put into all of them. It keeps the primitive's
    inputs, which most primitives keep anyway, or what stands for them in turn (once: a longer chain would be run from
    its beginning for each value); and only weakly the output itself: while somebody else holds that, it is taken
    from there.
    """

    __slots__ = ("chained", "conditions", "consumers", "inputs", "module", "reference", "version", "versions")
    _version = None  # no tensor's: so the walk's check of versions stops here

    def __init__(self, module: Any, inputs: tuple[Any, ...], versions: list[Any], conditions: Conditions) -> None:
        self.module = module
        self.inputs = inputs
        self.chained = any(type(x) is ComputedAgain for x in inputs)
        self.versions = versions  # of the inputs, parameters, and buffers that forward left alone
        self.conditions = conditions
        self.consumers: list[tuple[Any, int]] = []  # weak reference to a call, position among what it saved
        self.reference: Any = None
        self.version: int | None = None

    def stand_for(self, output: Tensor) -> None:
        key = id(output)
        self.version = output._version
        self.reference = ref(output, lambda _: COMPUTED_AGAIN.pop(key, None))
        COMPUTED_AGAIN[key] = self

    def put_back(self) -> None:
        """Put the value itself into every call that has saved it."""
        consumers, self.consumers = self.consumers, []
        value = self.reference()
        if value is not None:
            COMPUTED_AGAIN.pop(id(value), None)
        value = self.value()
        for reference, position in consumers:
            call = reference()
            if call is not None and not call.freed:
                call.saved = (*call.saved[:position], value, *call.saved[position + 1 :])
                call.versions[position] = value._version

    def value(self) -> Tensor:
        """The output as it was: from whoever still holds it, or computed again."""
        value = self.reference()
        if value is None or value._version != self.version:
            value = self._compute()
            self.reference, self.version = ref(value), value._version
        return value

    def _compute(self) -> Tensor:
        watched = (*self.inputs, *self.conditions.parameters, *self.conditions.unchanged)
        for tensor, version in zip(watched, self.versions, strict=True):
            if type(tensor) is not ComputedAgain and version is not None and tensor._version != version:
                raise RuntimeError(
                    f"recompute({self.module}): {describe(tensor)}, which its output is to be computed again from, was "
                    "changed in place after forward, so the gradient would be wrong. Change a clone of it, or change "
                    "it after backward"
                )
        call = Call(self.module, [Plain(None)] * len(self.inputs), {}, False)
        inputs = [x.value() if type(x) is ComputedAgain else x for x in self.inputs]
        with self.conditions.again(), _plainly():
            return self.module.forward(call, *inputs)


def forward_to_be_repeated(module: Any, call: Call, *inputs: Any) -> Any:
    """`module.forward(call, *inputs)` of a marked primitive: its output, if one tensor, will not be kept by the calls
    that save it. By itself, as one that tells its derivative by its output, only if its input need not be kept either.
    """
    conditions = Conditions(module, inputs)
    versions = [x._version if isinstance(x, Tensor) else None for x in (*inputs, *conditions.parameters)]
    kept = tuple(map(_as_kept, inputs))
    output = module.forward(call, *inputs)
    conditions.settle()
    own = type(output) is Tensor and any(output is tensor for tensor in call.saved)
    if type(output) is Tensor and (not own or any(type(x) is ComputedAgain for x in kept)):
        versions += [buffer._version for buffer in conditions.unchanged]
        ComputedAgain(module, kept, versions, conditions).stand_for(output)
        if own:
            call.let_go()
    return output


def _as_kept(x: Any) -> Any:
    """An input of a marked primitive, or what stands for it."""
    stand_in = stand_in_for(x) if isinstance(x, Tensor) else None
    return x if stand_in is None or stand_in.chained else stand_in

"""A dry run: the operations that a step does, found by doing them once without consequences.

It takes milliseconds where torch.export takes seconds, so it can be done at every start: what it lists is the content
that a compiled program is looked up by. And it finds what cannot be traced.

Small steps are run on their real values; large ones on shadows, tensors that have everything but values. What computes
shapes takes one to two seconds to import, so `Shapes` remembers what it gave.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from modgrad.graph.autocast import torch_autocast_off
from modgrad.step.locate import Paths, described, failed
from modgrad.step.shapes import Shapes

_SMALL = 2_000_000  # values that a step may hold to be run on them


class UntraceableError(RuntimeError):
    """The step does something that a traced program cannot do."""


def dry_run(
    names: Paths,
    function: Callable[..., Any],
    *inputs: Any,
    constants: list[tuple[Tensor, int]] | None = None,
    shapes: Shapes | None = None,
) -> tuple[list[str], Any]:
    """The operations that function(*inputs) does, as text, and what it gives. It must change nothing that it is given.

    names: of the modules, for errors. constants: is given the tensors that are neither inputs nor results, whose values
    are part of the program, with their versions. shapes: what is known of results on shadows, and is added to. Raises
    UntraceableError.
    """
    size = sum(x.numel() for x in pytree.tree_leaves(inputs) if isinstance(x, Tensor))
    record = _Record(names, shapes, real=size <= _SMALL)
    inputs = pytree.tree_map(lambda x: record.admit(x) if isinstance(x, Tensor) else x, inputs)
    try:
        with torch_autocast_off(), record:
            result = function(*inputs)
    except UntraceableError:
        raise
    except Exception as error:
        error.add_note(f"Raised by {failed(error, names)}, while its step was traced")
        raise
    record.lines.append(f"return {record.text(result)}")
    if constants is not None:
        constants += record.constants
    return record.lines, result


class _Shadow(Tensor):
    """A tensor's shape, strides, dtype and device, without values."""

    meta: Tensor

    @staticmethod
    def around(meta: Tensor, device: torch.device) -> Tensor:
        shadow: Any = Tensor._make_wrapper_subclass(
            _Shadow,
            meta.shape,
            strides=meta.stride(),
            storage_offset=meta.storage_offset(),
            dtype=meta.dtype,
            device=device,
        )
        shadow.meta = meta
        return shadow

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        raise RuntimeError(f"{func} on a tensor of a dry run that has ended")

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]


class _Record(TorchDispatchMode):
    """Notes each operation with its arguments; tensors by number."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # or the first operation would import PyTorch's compiler, which takes two seconds

    def __init__(self, names: Paths, shapes: Shapes | None, real: bool) -> None:
        super().__init__()
        self.names = names
        self.shapes = shapes
        self.real = real
        self.lines: list[str] = []
        self.known: dict[int, tuple[int, Tensor]] = {}  # by identity; held, as an identity is one's own only in life
        self.constants: list[tuple[Tensor, int]] = []
        self.given: set[int] = set()  # the memory of the inputs

    def admit(self, tensor: Tensor) -> Tensor:
        """An input of the run."""
        with torch._C.DisableTorchFunctionSubclass():
            if self.real:
                tensor = tensor.detach().as_subclass(Tensor)
            else:
                meta = torch.empty_strided(tuple(tensor.shape), tensor.stride(), dtype=tensor.dtype, device="meta")
                tensor = _Shadow.around(meta, tensor.device)
        self.given.add(_memory(tensor))
        return self._number(tensor)

    def _number(self, tensor: Tensor) -> Tensor:
        self.known.setdefault(id(tensor), (len(self.known), tensor))
        return tensor

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.name()
        if _asks(func, args):
            raise UntraceableError(
                f"{described(self.names)} asks for the value of a tensor ({name}), as item(), bool() and indexing by a "
                "mask do. While a step is traced there is none: write torch.where, or decide outside of the step"
            )
        if _draws(func, args, kwargs):
            raise UntraceableError(
                f"{described(self.names)} draws random numbers ({name}) from torch's generator, which is no part of a "
                "traced step's state: write nn.Dropout, or draw outside of the step and give it with the batch"
            )
        if func._schema.is_mutable and isinstance(args[0], Tensor):
            if id(args[0]) not in self.known:
                raise UntraceableError(
                    f"{described(self.names)} changes a tensor ({name}) that is neither parameter nor buffer, and a "
                    "traced step would lose the change: assign it as nn.Buffer(tensor)"
                )
            if _memory(args[0]) in self.given:
                raise UntraceableError(
                    f"{described(self.names)} changes a parameter or a part of the batch in place ({name}), which a "
                    "traced step is only given to read: change a clone of it"
                )
        self.lines.append(f"{func} {self.text((args, kwargs))}")
        result = func(*args, **kwargs) if self.real else self._on_shadows(func, args, kwargs)
        for x in pytree.tree_leaves(result):
            if isinstance(x, Tensor):
                self._number(x)
        self.lines.append(f"-> {self.text(result)}")
        return result

    def _on_shadows(self, func: Any, args: Any, kwargs: Any) -> Any:
        given: dict[int, Tensor] = {}
        device: torch.device | None = None

        def meta(x: Any) -> Any:
            nonlocal device
            if not isinstance(x, Tensor):
                return x
            if device is None or x.dim():
                device = x.device
            if not isinstance(x, _Shadow):
                return x.to("meta")
            given[id(x.meta)] = x
            return x.meta

        metas, named = pytree.tree_map(meta, (args, kwargs))
        if named.get("device") is not None or device is None:
            device, named["device"] = torch.device(named.get("device") or "cpu"), torch.device("meta")
        run = partial(_on_meta, func, metas, named)
        result = run() if self.shapes is None else self.shapes.result(func, metas, named, run)

        def shadow(x: Any) -> Any:
            if not isinstance(x, Tensor):
                return x
            return given[id(x)] if id(x) in given else _Shadow.around(x, device)

        return pytree.tree_map(shadow, result)

    def text(self, values: Any) -> str:
        return ", ".join(map(self._one, pytree.tree_leaves(values)))

    def _one(self, x: Any) -> str:
        if not isinstance(x, Tensor):
            return repr(x)
        kind = f"{x.dtype}{tuple(x.shape)}{x.stride()}"
        if id(x) in self.known:
            return f"%{self.known[id(x)][0]} {kind}"
        if not x.is_inference():
            self.constants.append((x, x._version))
        return f"{_digest(x)} {kind}"  # neither input nor result: what it holds is part of the program


def _on_meta(func: Any, args: Any, kwargs: Any) -> Any:
    try:
        return func(*args, **kwargs)
    except NotImplementedError:
        import_module("torch._meta_registrations")  # which takes a third of a second
        return func(*args, **kwargs)


def _draws(func: Any, args: Any, kwargs: Any) -> bool:
    """Whether an operation draws from torch's generator. One that can drop out, as attention, does if it is to."""
    if torch.Tag.nondeterministic_seeded not in func.tags:
        return False
    for position, argument in enumerate(func._schema.arguments):
        if argument.name == "dropout_p":
            given = args[position] if position < len(args) else kwargs.get("dropout_p", argument.default_value)
            return given != 0
    return True


def _asks(func: Any, args: Any) -> bool:
    """Whether an operation gives Python the value of a tensor, or a result whose shape depends on one."""
    if func is torch.ops.aten.index.Tensor:
        return any(isinstance(x, Tensor) and x.dtype in (torch.bool, torch.uint8) for x in args[1])
    if func in (torch.ops.aten.is_nonzero.default, torch.ops.aten.equal.default):
        return True
    return torch.Tag.data_dependent_output in func.tags or torch.Tag.dynamic_output_shape in func.tags


def _memory(tensor: Any) -> int:
    """What tells one piece of memory from another."""
    with torch._C.DisableTorchFunctionSubclass():
        storage: Any = getattr(tensor, "meta", tensor).untyped_storage()
        return storage._cdata


def _digest(tensor: Tensor) -> str:
    data = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
    return hashlib.sha256(data).hexdigest()[:16]

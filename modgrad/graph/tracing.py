"""Recording while a program is traced, where tensors are fake and no Variable can be laid over them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import FunctionType
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from modgrad.graph.autocast import operation_of, torch_autocast_off
from modgrad.graph.dispatch import OPERATORS, dispatch, wants_gradient
from modgrad.graph.mode import mode, switched
from modgrad.graph.module import Module
from modgrad.graph.variable import Parameter
from modgrad.graph.walk import backward


class Tracing(TorchFunctionMode):
    """While active, records hang on the tensors themselves and operators on them are caught here.

    `nn.Variable(x)`, `nn.Parameter(x)` and every output of a primitive are then ordinary tensors that carry their
    record as attributes; `loss.backward()` and `grad_v` work on them as ever. So forward, walk and update trace to one
    plain program, with make_fx or torch.export.
    """

    def __enter__(self) -> Tracing:
        self._within = ExitStack()
        self._within.enter_context(switched(tracing=True))
        self._within.enter_context(torch_autocast_off())
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        self._within.__exit__(*error)
        super().__exit__(*error)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if mode.computing or not wants_gradient(args, kwargs):
            if mode.autocast is None or mode.computing or func not in OPERATORS or kwargs.get("out") is not None:
                return func(*args, **kwargs)
            if operation_of(func, kwargs) is None and not isinstance(func, FunctionType):  # which is made of others
                return func(*args, **kwargs)
        if func is Tensor.backward:
            return _backward(*args, **kwargs)
        super().__enter__()  # PyTorch takes the mode off in here, and an operator may be made of others
        try:
            return dispatch(func, args, kwargs)
        finally:
            super().__exit__(None, None, None)


def _backward(
    root: Any, gradient: Any = None, retain_graph: Any = None, create_graph: bool = False, inputs: Any = None
) -> None:
    """`Tensor.backward`, called on a tensor that a record hangs on."""
    backward(root, gradient, bool(retain_graph), create_graph, inputs)


@contextmanager
def substituted(module: Module, tensors: Mapping[str, Tensor]) -> Iterator[dict[str, Any]]:
    """Inside, the module's parameters and buffers of these dotted names are these tensors; gives them by name.

    Parameters are made of those that stand for parameters, trainable where the original is. Inside `Tracing`.
    """
    originals = {}
    for name in tensors:
        path, _, attribute = name.rpartition(".")
        originals[name] = module.get_submodule(path).__dict__[attribute]
    stand_ins = {name: standing_for(original, tensors[name]) for name, original in originals.items()}
    with replaced([module], [(originals[name], stand_ins[name]) for name in tensors]):
        yield stand_ins


def standing_for(original: Tensor, tensor: Tensor) -> Any:
    """`tensor`, as a parameter if `original` is one."""
    return Parameter(tensor, original.grad_f) if isinstance(original, Parameter) else tensor


@contextmanager
def replaced(roots: Iterable[Module], pairs: Iterable[tuple[Tensor, Any]]) -> Iterator[None]:
    """Inside, every parameter and buffer of the modules under `roots` that is the first of a pair is the second.

    By identity, so that a tied parameter is replaced wherever it is held.
    """
    stand_in = {id(original): (original, tensor) for original, tensor in pairs}
    places = []
    try:
        for module in dict.fromkeys(module for root in roots for module in root.modules()):
            own = module.__dict__
            for name in (*module._parameter_names, *module._buffer_names):
                original = own[name]
                if id(original) in stand_in:
                    places.append((own, name, original))
                    own[name] = stand_in[id(original)][1]
        yield
    finally:
        for own, name, original in places:
            own[name] = original

"""Where each operation of a traced step came from: which module, and whether its forward or its backward."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from torch import Tensor
from torch.fx import Node
from torch.fx.traceback import annotate, preserve_node_meta

from modgrad.graph import Module
from modgrad.graph.autocast import Cast
from modgrad.graph.mode import switched

_KEY = "modgrad"


Paths = dict[int, str]  # a module's identity -> its dotted name


def paths(roots: dict[str, Module]) -> Paths:
    """The names of all modules under `roots`, which are given by the prefix of their names."""
    found: Paths = {}
    for prefix, root in roots.items():
        for path, module in root.named_modules():
            found.setdefault(id(module), ".".join(part for part in (prefix, path) if part))
    return found


@contextmanager
def locating(names: Paths) -> Iterator[None]:
    """Inside, operations that are traced carry where they came from."""

    def locate(module: Module, runs: Any) -> Located:
        path = names.get(id(module))
        kind = type(module).__name__
        if path is None:  # an operator, as in x + y: it belongs to the module whose forward is running
            owner = running(names)
            path = "" if owner is None else names[id(owner)]
        return Located(runs, f"{path} ({kind})" if path else kind)

    with preserve_node_meta(), switched(locate=locate):
        yield


def at(place: str) -> Any:
    """Inside, operations that are traced carry this place."""
    return annotate({_KEY: place})


def place_of(node: Node) -> str:
    """The place that a node carries, "" if none."""
    return node.meta.get("custom", {}).get(_KEY, "")


class Located:
    """Stands for a primitive in a traced call, and says where its operations come from."""

    def __init__(self, module: Any, place: str) -> None:
        self._module, self._place = module, place

    def forward(self, *inputs: Any) -> Any:
        with at(f"{self._place}.forward"):
            return self._module.forward(*inputs)

    def backward(self, *grads: Any) -> Any:
        with at(f"{self._place}.backward"):
            return self._module.backward(*grads)

    def parameter_gradients(self, *grads: Any) -> dict[str, Tensor | None]:
        with at(f"{self._place}.parameter_gradients"):
            return self._module.parameter_gradients(*grads)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

    def __str__(self) -> str:
        return str(self._module)


def running(names: Paths) -> Any:
    """The innermost of the named modules in whose method the program is, or None."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if (module := _module_of(frame, names)) is not None:
            return module
        frame = frame.f_back
    return None


def failed(error: BaseException, names: Paths) -> str:
    """The module in whose method `error` was raised, as an error names it."""
    module = None
    trace = error.__traceback__
    while trace is not None:
        module = _module_of(trace.tb_frame, names) or module
        trace = trace.tb_next
    return _named(module, names)


def described(names: Paths) -> str:
    """The module in whose method the program is, as an error names it."""
    return _named(running(names), names)


def _module_of(frame: FrameType, names: Paths) -> Any:
    """The named module whose method this frame runs, or None."""
    code = frame.f_code
    if code.co_name not in _METHODS or not code.co_argcount:
        return None
    module = frame.f_locals.get(code.co_varnames[0])
    while isinstance(module, (Located, Cast)):
        module = module._module
    return module if id(module) in names else None


def _named(module: Any, names: Paths) -> str:
    if module is None:
        return "the step"
    return f"module {names[id(module)]!r} ({type(module).__name__})" if names[id(module)] else type(module).__name__


_METHODS = {"forward", "backward", "parameter_gradients"}

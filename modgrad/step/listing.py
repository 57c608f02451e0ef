"""A traced step to be read: one line for each operation, with the module whose forward or backward it came from."""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import Node
from torch.utils import _pytree as pytree

from modgrad.step.locate import place_of
from modgrad.step.quiet import quiet

_DTYPES = {
    **{torch.float32: "f32", torch.float64: "f64", torch.float16: "f16", torch.bfloat16: "bf16"},
    **{torch.int64: "i64", torch.int32: "i32", torch.uint8: "u8", torch.bool: "bool"},
}


class TracedStep:
    """A step as a pure function: called with (state, batch), it gives (state, loss). Printed, it can be read.

    exported: the torch.export.ExportedProgram. dynamic: whether its batch size is free.
    """

    def __init__(self, exported: Any) -> None:
        self.exported = exported
        self._run: Any = None

    @property
    def dynamic(self) -> bool:
        return bool(self.exported.range_constraints)

    def __call__(self, state: Any, batch: Any) -> Any:
        if self._run is None:
            with quiet():
                self._run = self.exported.module()
        return self._run(state, batch)

    def __str__(self) -> str:
        return listing(self.exported)

    __repr__ = __str__


def listing(exported: Any) -> str:
    """The program's lines."""
    lines = [_line(node) for node in exported.graph.nodes if node.op != "output"]
    width = min(max((len(code) for code, place in lines if place), default=0), 100)
    text = [f"{code:<{width}}  # {place}" if place else code for code, place in lines]
    (output,) = (node for node in exported.graph.nodes if node.op == "output")
    kinds = exported.graph_signature.output_specs
    paths, _ = pytree.tree_flatten_with_path(pytree.tree_unflatten(range(len(kinds)), exported.call_spec.out_spec))
    text.append("return")
    for (path, _), value in zip(paths, output.args[0], strict=True):
        text.append(f"  {_path(path)} = {value}")
    return "\n".join(text)


def _line(node: Node) -> tuple[str, str]:
    kind = f": {_kind(node.meta.get('val'))}" if "val" in node.meta else ""
    if node.op == "placeholder":
        return f"{node.name}{kind}", "input"
    name = getattr(node.target, "__name__", str(node.target)).split(".")[0]
    arguments = [_argument(a) for a in node.args] + [f"{k}={_argument(v)}" for k, v in node.kwargs.items()]
    return f"{node.name}{kind} = {name}({', '.join(arguments)})", place_of(node)


def _kind(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"{_DTYPES.get(value.dtype, str(value.dtype))}[{', '.join(map(str, value.shape))}]"
    if isinstance(value, (tuple, list)):
        return f"({', '.join(map(_kind, value))})"
    return type(value).__name__


def _argument(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(_argument, value))}]"
    return str(value)


def _path(path: Any) -> str:
    first, *rest = (getattr(key, "key", getattr(key, "idx", None)) for key in path)
    return "loss" if first == 1 else f"state{''.join(f'[{key!r}]' for key in rest)}"

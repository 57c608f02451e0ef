"""A traced program, operation by operation, as an ONNX graph."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, _decomp
from torch.fx import Node

from modgrad.export.onnx.errors import ExportError
from modgrad.export.onnx.graph import DTYPES, Graph, Value
from modgrad.export.onnx.lowering import LOWERINGS, Operation
from modgrad.export.onnx.lowering.table import BROADCASTING, DECOMPOSITIONS, same_size
from modgrad.export.onnx.sizes import Sizes
from modgrad.step.locate import place_of

aten: Any = torch.ops.aten
_ASSERTIONS = {
    aten._assert_scalar.default,
    aten._assert_tensor_metadata.default,
    aten.sym_constrain_range_for_size.default,
    aten.sym_constrain_range.default,
}
_SIZES = (torch.SymInt, torch.SymFloat, torch.SymBool)


@cache
def decompositions() -> dict[Any, Any]:
    """PyTorch's own of the operators that have no lowering here, and those that are written here."""
    table = {**_decomp.decomposition_table, **torch.export.default_decompositions(), **DECOMPOSITIONS}
    return {overload: function for overload, function in table.items() if overload not in LOWERINGS}


def lowered(exported: Any, inputs: Sequence[str | None], graph: Graph) -> list[Value]:
    """The results of an exported program, in order, as values of `graph`.

    inputs: a name for each of the program's, None for what it is given that is no tensor.
    """
    sizes = Sizes(graph)
    env: dict[Node, Any] = {}
    names = iter(inputs)
    specs = {spec.arg.name: spec for spec in exported.graph_signature.input_specs}
    for node in exported.graph.nodes:
        if node.op == "placeholder":
            held = _held(exported, specs[node.name])
            if held is not None:
                env[node] = graph.constant(held)
                continue
            name = next(names)
            if isinstance(node.meta.get("val"), Tensor):
                assert name is not None
                env[node] = _input(graph, name, node.meta["val"])
                sizes.admit(env[node])
        elif node.op == "call_function":
            env[node] = _lowered(graph, sizes, node, env)
        elif node.op == "output":
            results = [env[x] if isinstance(x, Node) else x for x in node.args[0]]
            return [x if isinstance(x, Value) else sizes.scalar(x) for x in results]
    raise AssertionError("a program without an output")


def _held(exported: Any, spec: Any) -> Tensor | None:
    """The value of a tensor that the program holds."""
    if spec.target is None or spec.kind.name == "USER_INPUT":
        return None
    if spec.target in exported.constants:
        return exported.constants[spec.target]
    return exported.state_dict.get(spec.target)


def _input(graph: Graph, name: str, fake: Any) -> Value:
    if fake.dtype not in DTYPES:
        raise ExportError(f"{name} is {fake.dtype}, which ONNX has no tensors of")
    if name in graph.inputs:
        return graph.inputs[name]
    return graph.input(name, fake.dtype, tuple(fake.shape))


def _lowered(graph: Graph, sizes: Sizes, node: Node, env: dict[Node, Any]) -> Any:
    found = node.meta.get("val")
    if node.target is operator.getitem:
        source, position = node.args
        return env[source][position]  # type: ignore[index]
    if isinstance(found, _SIZES) or node.target in _ASSERTIONS:
        return found
    if isinstance(found, (int, float, bool)):
        return found
    lowering = LOWERINGS.get(node.target)
    if lowering is None:
        raise ExportError(
            f"{_named(node)} has no form in ONNX here. Write that part of the model with other operations, or compute "
            "it outside of the step and give it with the batch"
        )
    given = {x: env[x] for x in node.all_input_nodes}
    if node.target in BROADCASTING:
        given = _unspread(graph, node, given)
    args, kwargs = torch.fx.node.map_arg((node.args, node.kwargs), lambda x: given[x])
    try:
        result = lowering(Operation(graph, sizes, node), *args, **kwargs)
    except NotImplementedError as error:
        raise ExportError(f"{_named(node)} has no form in ONNX here: {error}") from error
    return _checked(node, result, found)


def _checked(node: Node, result: Any, found: Any) -> Any:
    if isinstance(found, (tuple, list)):
        return tuple(None if r is None else _checked(node, r, f) for r, f in zip(result, found, strict=True))
    assert result.dtype is found.dtype, f"{node.target} was lowered to {result.dtype}, expected {found.dtype}"
    return result._replace(shape=tuple(found.shape))


def _unspread(graph: Graph, node: Node, given: dict[Node, Any]) -> dict[Node, Any]:
    """What was broadcast as it was before, where the operation broadcasts it by itself."""
    tensors = {x: value for x, value in given.items() if isinstance(value, Value)}
    before = {x: graph.broadcasts.get(value.name, value) for x, value in tensors.items()}
    shape = tuple(node.meta["val"].shape)
    # Each size must still come from one of them
    covered = [False] * len(shape)
    for value in before.values():
        for d, size in enumerate(reversed(value.shape or ()), 1):
            covered[-d] |= same_size(size, shape[-d])
    if not all(covered):
        return given
    # Their declared shapes stay, as it is by these that PyTorch decides on a dtype
    return {**given, **{x: before[x]._replace(shape=value.shape) for x, value in tensors.items()}}


def _named(node: Node) -> str:
    place = place_of(node)
    return f"{node.target}{f', in {place},' if place else ''}"

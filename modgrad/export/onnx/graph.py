"""An ONNX graph under construction: values by name, each operation and each constant once."""

from __future__ import annotations

import string
from collections.abc import Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

OPSET, IR_VERSION = 20, 10
Size = Any  # int, or torch.SymInt where it is free
Shape = tuple[Size, ...]

DTYPES = {
    torch.float32: TensorProto.FLOAT,
    torch.float64: TensorProto.DOUBLE,
    torch.float16: TensorProto.FLOAT16,
    torch.bfloat16: TensorProto.BFLOAT16,
    torch.int8: TensorProto.INT8,
    torch.int16: TensorProto.INT16,
    torch.int32: TensorProto.INT32,
    torch.int64: TensorProto.INT64,
    torch.uint8: TensorProto.UINT8,
    torch.uint16: TensorProto.UINT16,
    torch.uint32: TensorProto.UINT32,
    torch.uint64: TensorProto.UINT64,
    torch.bool: TensorProto.BOOL,
}

# Operators that only move the values of their first input.
_MOVES = {"Gather", "Slice", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Expand", "Tile"}


class Value(NamedTuple):
    """A tensor of the graph. shape: None where no lowering asks for it."""

    name: str
    dtype: torch.dtype
    shape: Shape | None = None


class Graph:
    """Operations in the order in which they were asked for.

    An operation that was asked for before, of the same inputs and attributes, is not made again: every one is a pure
    function. What no output needs is left out of the model.
    """

    def __init__(self) -> None:
        self.inputs: dict[str, Value] = {}
        self.constants: dict[str, Tensor] = {}
        self.nodes: list[onnx.NodeProto] = []
        self._known: dict[Any, Any] = {}
        self._made = 0
        self.reshaped: dict[str, Value] = {}  # by what was given another shape, what it was before
        self.broadcasts: dict[str, Value] = {}  # by what was broadcast, what it was before
        self.products: dict[str, tuple[Value, Value, dict[str, Any]]] = {}  # by result, those of matrices alone
        self.sums: dict[str, tuple[int, Value]] = {}  # what is known of a value: its sum along a dimension, kept there
        self.places: dict[str, Value] = {}  # by places in a channel, the same counted over all samples and channels
        self._nonnegative: set[str] = set()
        self._transposes: dict[str, Value] = {}

    def input(self, name: str, dtype: torch.dtype, shape: Shape) -> Value:
        self.inputs[name] = Value(name, dtype, shape)
        return self.inputs[name]

    def constant(self, value: Any, dtype: torch.dtype | None = None) -> Value:
        """value: a tensor, number, or list of numbers. dtype: its own, or that of the tensor."""
        tensor = value.detach().cpu() if isinstance(value, Tensor) else torch.tensor(value, dtype=dtype)
        if dtype is not None:
            tensor = tensor.to(dtype)
        key = ("constant", tensor.dtype, tuple(tensor.shape), _bytes(tensor))
        if key not in self._known:
            name = self._name()
            self.constants[name] = tensor
            self._known[key] = Value(name, tensor.dtype, tuple(tensor.shape))
        return self._known[key]

    def value_of(self, value: Value) -> Tensor | None:
        """What a constant holds, None of anything else."""
        return self.constants.get(value.name)

    def op(
        self,
        kind: str,
        *inputs: Value | None,
        dtype: torch.dtype | None = None,
        shape: Shape | None = None,
        outputs: int = 1,
        dtypes: Sequence[torch.dtype] = (),
        **attributes: Any,
    ) -> Any:
        """The result of an operation, or a tuple of `outputs` > 1. dtype: of the first, if not the first input's."""
        names = [x.name if x is not None else "" for x in inputs]
        while names and not names[-1]:
            names.pop()
        attributes = {key: value for key, value in attributes.items() if value is not None}
        key = (kind, tuple(names), outputs, tuple(sorted((k, _hashable(v)) for k, v in attributes.items())))
        if key not in self._known:
            made = [self._name() for _ in range(outputs)]
            self.nodes.append(helper.make_node(kind, names, made, **attributes))
            first = dtype if dtype is not None else _first(inputs)
            kinds = [first, *dtypes] if dtypes else [first] * outputs
            values = tuple(map(Value, made, kinds))
            self._known[key] = values[0] if outputs == 1 else values
            if kind == "Relu" or (kind in _MOVES and inputs[0] is not None and inputs[0].name in self._nonnegative):
                self._nonnegative.update(made)
            if kind == "Transpose" and tuple(attributes["perm"]) == (1, 0) and inputs[0] is not None:
                self._transposes[made[0]] = inputs[0]
        known = self._known[key]
        return known._replace(shape=shape) if outputs == 1 and shape is not None else known

    def cast(self, value: Value, dtype: torch.dtype) -> Value:
        if value.dtype is dtype:
            return value
        held = self.value_of(value)
        if held is not None:
            return self.constant(held, dtype)
        result: Value = self.op("Cast", value, dtype=dtype, shape=value.shape, to=DTYPES[dtype])
        if value.dtype is torch.bool:
            self._nonnegative.add(result.name)
        return result

    def transposed(self, value: Value) -> Value | None:
        """The matrix that this one is the transpose of, if it is one's."""
        return self._transposes.get(value.name)

    def mark_nonnegative(self, value: Value) -> Value:
        """Note that no element of a tensor is below 0."""
        self._nonnegative.add(value.name)
        return value

    def is_nonnegative(self, value: Value) -> bool:
        held = self.value_of(value)
        return value.name in self._nonnegative if held is None else bool((held >= 0).all())

    def _name(self) -> str:
        self._made += 1
        return f"%{self._made}"

    # The finished graph

    def proto(
        self,
        name: str,
        inputs: Sequence[tuple[str, Any]],
        outputs: dict[str, tuple[Value, Any]],
        inner: bool = False,
    ) -> onnx.GraphProto:
        """The graph as protobuf. inputs: names with the shapes to state, names standing for free sizes. outputs: by
        name, the value with its shape. A value under two names, or one that is an input itself, is handed through.

        inner: as the body of a loop: its inputs and outputs get names of their own, in the same order, and other inputs
        of this graph are those of the graph around it.
        """
        names = _short_names({*self.inputs, *outputs})
        within = {n: next(names) for n, _ in inputs} if inner else {}
        if inner:
            outputs = {next(names): given for given in outputs.values()}
        rename: dict[str, str] = dict(within)
        through = []
        for output, (value, _) in outputs.items():
            if value.name in self.inputs or value.name in self.constants or value.name in rename:
                through.append((output, value.name))
            else:
                rename[value.name] = output
        needed = {value.name for value, _ in outputs.values()}
        nodes = []
        for node in reversed(self.nodes):
            if needed.intersection(node.output):
                needed.update(node.input)
                nodes.append(node)
        for own in (*(n for n in self.constants if n in needed), *(o for node in reversed(nodes) for o in node.output)):
            rename.setdefault(own, next(names))
        made = []
        for node in reversed(nodes):
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            copy.ClearField("input")
            copy.ClearField("output")
            copy.input.extend(rename.get(n, n) for n in node.input)
            copy.output.extend(rename[n] for n in node.output)
            made.append(copy)
        made += [helper.make_node("Identity", [rename.get(n, n)], [output]) for output, n in through]
        return helper.make_graph(
            made,
            name,
            [helper.make_tensor_value_info(within.get(n, n), DTYPES[self.inputs[n].dtype], s) for n, s in inputs],
            [helper.make_tensor_value_info(n, DTYPES[value.dtype], shape) for n, (value, shape) in outputs.items()],
            [_tensor(tensor, rename[n]) for n, tensor in self.constants.items() if n in needed],
        )


def model(graph: onnx.GraphProto, opset: int = OPSET) -> onnx.ModelProto:
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=IR_VERSION, producer_name="modgrad"
    )


def _tensor(tensor: Tensor, name: str) -> TensorProto:
    if tensor.dtype is torch.bfloat16:
        raw = tensor.contiguous().view(torch.int16).numpy().tobytes()
        return helper.make_tensor(name, TensorProto.BFLOAT16, list(tensor.shape), raw, raw=True)
    return numpy_helper.from_array(np.ascontiguousarray(tensor.numpy()).reshape(tuple(tensor.shape)), name)


def _bytes(tensor: Tensor) -> bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def _hashable(x: Any) -> Any:
    if isinstance(x, (list, tuple)):
        return tuple(map(_hashable, x))
    return x.SerializeToString() if hasattr(x, "SerializeToString") else (type(x).__name__, x)


def _first(inputs: Sequence[Value | None]) -> torch.dtype:
    return next(x.dtype for x in inputs if x is not None)


def _short_names(taken: set[str]) -> Any:
    """a, b, ..., aa, ab, ..., but for those taken."""
    letters = string.ascii_letters
    length = 1
    while True:
        for each in product(letters, repeat=length):
            name = "".join(each)
            if name not in taken:
                yield name
        length += 1


def scan(
    body: onnx.GraphProto, name: str, inputs: list[Any], outputs: list[Any], carried: list[str], stacked: list[str]
) -> onnx.GraphProto:
    """A graph that runs `body` once for each part of the `stacked` inputs, handing on the `carried` ones.

    inputs, outputs: of the graph, as protobuf states them; outputs in the body's order.
    """
    node = helper.make_node(
        "Scan", [*carried, *stacked], [each.name for each in outputs], body=body, num_scan_inputs=len(stacked)
    )
    return helper.make_graph([node], name, inputs, outputs)


def stated(name: str, dtype: torch.dtype, shape: Sequence[Any]) -> Any:
    """An input or output of a graph."""
    return helper.make_tensor_value_info(name, DTYPES[dtype], list(shape))

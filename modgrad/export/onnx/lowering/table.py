"""What an operator is lowered by: the table that each family adds to, and what a lowering is given."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from onnx import helper
from torch.fx import Node

from modgrad.export.onnx.graph import DTYPES, Graph, Shape, Size, Value
from modgrad.export.onnx.sizes import Sizes

LOWERINGS: dict[Any, Callable[..., Any]] = {}
DECOMPOSITIONS: dict[Any, Callable[..., Any]] = {}
BROADCASTING: set[Any] = set()  # operators whose tensors are broadcast to one shape
Lowering = Callable[..., Any]


def lowers(*overloads: Any) -> Callable[[Lowering], Lowering]:
    """Enter a function as the lowering of these operators: lowering(on, *args, **kwargs), with the operator's own
    arguments, gives its result as a Value, or a tuple of them (None where nobody asks for one)."""

    def enter(lowering: Lowering) -> Lowering:
        for overload in overloads:
            assert overload not in LOWERINGS, f"{overload} is lowered twice"
            LOWERINGS[overload] = lowering
        return lowering

    return enter


def decomposes(overload: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter a function of tensors that says an operator in others, which are then lowered."""

    def enter(function: Callable[..., Any]) -> Callable[..., Any]:
        DECOMPOSITIONS[overload] = function
        return function

    return enter


class Operation:
    """An operation of the traced program while it is lowered."""

    def __init__(self, graph: Graph, sizes: Sizes, node: Node) -> None:
        self.graph, self.sizes, self.node = graph, sizes, node
        self.op, self.cast, self.constant = graph.op, graph.cast, graph.constant
        found = node.meta["val"]
        self.result: Any = found[0] if isinstance(found, (tuple, list)) else found  # the first, as a fake tensor

    @property
    def dtype(self) -> torch.dtype:
        """Of the first result."""
        return self.result.dtype

    @property
    def shape(self) -> Shape:
        """Of the first result."""
        return tuple(self.result.shape)

    def used(self, position: int) -> bool:
        """Whether anybody asks for this one of several results."""
        return any(user.args[1] == position for user in self.node.users)

    def value(self, x: Any, dtype: torch.dtype) -> Value:
        """A tensor, number or size as a value of this dtype."""
        if isinstance(x, Value):
            return self.cast(x, dtype)
        if isinstance(x, (torch.SymInt, torch.SymFloat)):
            return self.cast(self.sizes.scalar(x), dtype)
        return self.constant(x, dtype)

    def values(self, *operands: Any) -> list[Value]:
        """Operands of one operation, in the dtype that PyTorch computes it in."""
        return [self.value(x, promoted(operands)) for x in operands]

    def indices(self, x: Value) -> Value:
        """Indices that count from 0 alone, as int64. One below 0 loses its sign, by which it is out of any range, and
        onnxruntime refuses it as PyTorch does; by ONNX's rule it would count from the end."""
        x = self.cast(x, torch.int64)
        if self.graph.is_nonnegative(x):
            return x
        found = self.op("BitwiseAnd", x, self.constant(torch.iinfo(torch.int64).max, torch.int64), shape=x.shape)
        self.graph.mark_nonnegative(found)
        return found

    def ints(self, *numbers: int) -> Value:
        """A vector of int64."""
        return self.constant(list(numbers), torch.int64)

    def vector(self, sizes: Sequence[Size]) -> Value:
        """Sizes as a vector of int64."""
        return self.sizes.vector(sizes)

    def reshape(self, x: Value, shape: Sequence[Size]) -> Value:
        """x in another shape. One size that is free is left to be found out."""
        shape = tuple(shape)
        if x.shape is not None and same_shape(x.shape, shape):
            return x
        source = self.graph.reshaped.get(x.name, x)
        if source.shape is not None and same_shape(source.shape, shape):
            return source
        free = [d for d, size in enumerate(shape) if not is_fixed(size)]
        if len(free) == 1 and 0 not in shape:
            target = self.ints(*(int(size) if is_fixed(size) else -1 for size in shape))
        else:
            target = self.vector(shape)
        result: Value = self.op("Reshape", source, target, shape=shape, allowzero=1 if 0 in shape else None)
        self.graph.reshaped[result.name] = source
        return result

    def expand(self, x: Value, shape: Sequence[Size]) -> Value:
        """x broadcast to a shape."""
        assert x.shape is not None
        shape = tuple(shape)
        if same_shape(x.shape, shape):
            return x
        if any(is_fixed(size) and int(size) == 0 for size in shape):  # to which onnxruntime expands nothing
            nothing = helper.make_tensor("", DTYPES[x.dtype], [1], [0])
            return self.op("ConstantOfShape", self.vector(shape), dtype=x.dtype, shape=shape, value=nothing)
        own = (None,) * (len(shape) - len(x.shape)) + tuple(x.shape)
        # 1 leaves a dimension as it is, so that only sizes that change need to be known
        target = [1 if o is not None and same_size(o, size) else size for o, size in zip(own, shape, strict=True)]
        result: Value = self.op("Expand", x, self.vector(target), shape=shape)
        self.graph.broadcasts.setdefault(result.name, x)
        return result

    def unsqueeze(self, x: Value, *dims: int) -> Value:
        shape = None
        if x.shape is not None:
            sizes = iter(x.shape)
            rank = len(x.shape) + len(dims)
            places = {d % rank for d in dims}
            shape = tuple(1 if d in places else next(sizes) for d in range(rank))
        return self.op("Unsqueeze", x, self.ints(*dims), shape=shape)

    def squeeze(self, x: Value, *dims: int) -> Value:
        shape = None
        if x.shape is not None:
            gone = {d % len(x.shape) for d in dims}
            shape = tuple(size for d, size in enumerate(x.shape) if d not in gone)
        return self.op("Squeeze", x, self.ints(*dims), shape=shape)

    def transpose(self, x: Value, order: Sequence[int]) -> Value:
        order = list(order)
        if order == sorted(order):
            return x
        shape = None if x.shape is None else tuple(x.shape[d] for d in order)
        return self.op("Transpose", x, perm=order, shape=shape)


def rank(x: Value) -> int:
    assert x.shape is not None
    return len(x.shape)


def dims_of(dims: Any, rank: int) -> list[int]:
    """Dimensions as a list, from 0 up; all of them if none is named."""
    if not rank:
        return []
    if dims is None or (isinstance(dims, (tuple, list)) and not dims):
        return list(range(rank))
    return [d % rank for d in (dims if isinstance(dims, (tuple, list)) else [dims])]


def promoted(operands: Sequence[Any]) -> torch.dtype:
    """The dtype that PyTorch computes in: of those with dimensions first, then of those without, then of numbers."""
    kinds: list[set[torch.dtype]] = [set(), set(), set()]
    for x in operands:
        if isinstance(x, Value):
            assert x.shape is not None
            kinds[0 if x.shape else 1].add(x.dtype)
        elif isinstance(x, bool):
            kinds[2].add(torch.bool)
        elif isinstance(x, (int, torch.SymInt)):
            kinds[2].add(torch.int64)
        else:
            kinds[2].add(torch.get_default_dtype())
    dtype: torch.dtype | None = None
    for kind in kinds:
        found: torch.dtype | None = None
        for each in kind:
            found = each if found is None else torch.promote_types(found, each)
        if found is not None and (dtype is None or _category(found) > _category(dtype)):
            dtype = found
    assert dtype is not None
    return dtype


def _category(dtype: torch.dtype) -> int:
    return 0 if dtype is torch.bool else 2 if dtype.is_floating_point else 1


def is_fixed(size: Size) -> bool:
    return isinstance(size, int) or size.node.maybe_as_int() is not None


def fixed(size: Size, what: str) -> int:
    """A size as a number, which a graph of this operator needs before it runs."""
    if not is_fixed(size):
        raise NotImplementedError(f"{what} along a size that is free")
    return int(size)


def same_size(a: Size, b: Size) -> bool:
    if is_fixed(a) and is_fixed(b):
        return int(a) == int(b)
    return not is_fixed(a) and not is_fixed(b) and bool(a.node.expr == b.node.expr)


def same_shape(a: Sequence[Size], b: Sequence[Size]) -> bool:
    return len(a) == len(b) and all(map(same_size, a, b))


def count(sizes: Sequence[Size]) -> Size:
    """How many elements that is."""
    return math.prod(sizes)

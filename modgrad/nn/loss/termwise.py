"""What the losses share that have a term for each value of their inputs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import reduce, wraps
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from modgrad.graph.errors import describe
from modgrad.nn.broadcasting import forms, restored
from modgrad.nn.loss.base import Loss


class TermwiseLoss(Loss):
    """A loss with a term for each value. A class says what its function is, and its derivatives; nothing else.

    function: of tensors, then `reduction`, then options. The first tensors are what `forward` is given; the others, and
        the options, are the module's attributes of the arguments' names.
    derivatives: for each input that has a gradient, by its name in `function`: a function of `grad`, then as above.
        What its arguments name is what it is given, and what is kept for it.
    alike: whether the inputs must have one shape. If not, they broadcast.

    Inside, all tensors have one shape and one dtype. A gradient is brought back to its input's.
    """

    function: ClassVar[Callable[..., Tensor]]
    derivatives: ClassVar[dict[str, Callable[..., Tensor]]]
    alike: ClassVar[bool] = True

    _tensors: ClassVar[list[str]]
    _options: ClassVar[list[str]]
    _ways: ClassVar[list[_Way]]

    def __init_subclass__(cls, **named: Any) -> None:
        super().__init_subclass__(**named)
        if "function" not in cls.__dict__:
            return
        cls._tensors, cls._options = _arguments(cls.function)
        cls._ways = []
        for name, derivative in cls.derivatives.items():
            (_, *tensors), options = _arguments(derivative)
            reads = [cls._tensors.index(tensor) for tensor in tensors]
            cls._ways.append(_Way(cls._tensors.index(name), derivative, reads, options))

    def forward(self, call: Any, input: Tensor, target: Tensor) -> Tensor:
        return self._loss(call, input, target)

    def backward(self, call: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        gradients: list[Tensor | None] = [None] * len(call.sources)
        for way in self._ways:
            if call.wants(way.input):
                tensors = [call.saved[i] for i in way.reads]
                gradients[way.input] = way.derivative(grad, *tensors, self.reduction, *self._values(way.options))
        own = getattr(call, "forms", None)
        return tuple(gradients) if own is None else restored(gradients, own)

    def _loss(self, call: Any, *inputs: Any) -> Tensor:
        weights = self._values(self._tensors[len(inputs) :])
        tensors: list[Any] = [*inputs, *weights]
        if not self._one_form(tensors):
            tensors = self._in_one_form(inputs, weights)
            call.forms = forms(inputs)
        kept: set[int] = set()
        for way in self._ways:
            if call.wants(way.input):
                kept.update(way.reads)
        call.save(*(tensor if i in kept else None for i, tensor in enumerate(tensors)))
        return type(self).function(*tensors, self.reduction, *self._values(self._options))

    def _values(self, names: list[str]) -> list[Any]:
        return [getattr(self, name) for name in names]

    def _one_form(self, tensors: list[Any]) -> bool:
        try:
            shape, dtype = tensors[0].shape, tensors[0].dtype
            size = len(shape)  # compared first: else a free batch size would be compared with a number
            same = all(t is None or (t.dtype == dtype and t.dim() == size and t.shape == shape) for t in tensors)
        except AttributeError as error:
            raise TypeError(f"{self}: {self._given(tensors)}; expected tensors") from error
        return same and dtype.is_floating_point

    def _in_one_form(self, inputs: Sequence[Any], weights: Sequence[Any]) -> list[Any]:
        """All as the inputs broadcast, in the dtype that they promote to."""
        given = [x for x in inputs if x is not None]
        dtype = reduce(torch.promote_types, [x.dtype for x in given if x.dim()] or [x.dtype for x in given])
        if not dtype.is_floating_point:
            dtype = reduce(torch.promote_types, [x.dtype for x in given])
        if not dtype.is_floating_point:
            raise TypeError(f"{self}: {self._given(inputs)}; one must be floating-point")
        first, second = self._tensors[:2]
        if self.alike and inputs[0].shape != inputs[1].shape:
            raise ValueError(
                f"{self}: {first} has shape {tuple(inputs[0].shape)}, {second} {tuple(inputs[1].shape)}; they must be "
                f"the same, or each value would be compared with others' {second}s. "
                f"Write {second}.reshape({first}.shape) or expand it"
            )
        try:
            shape = torch.broadcast_shapes(*(x.shape for x in given))
        except RuntimeError as error:
            raise ValueError(f"{self}: {self._given(inputs)}; their shapes do not broadcast") from error
        try:
            return [x if x is None else x.expand(shape).to(dtype) for x in (*inputs, *weights)]
        except RuntimeError as error:
            shapes = " and ".join(str(tuple(weight.shape)) for weight in weights if weight is not None)
            raise ValueError(f"{self}: a weight of shape {shapes} does not broadcast to {tuple(shape)}") from error

    def _given(self, inputs: Sequence[Any]) -> str:
        named = zip(self._tensors, inputs, strict=False)
        return ", ".join(f"{name} is {describe(x)}" for name, x in named)


class _Way(NamedTuple):
    """How one input comes by its gradient."""

    input: int
    derivative: Callable[..., Tensor]
    reads: list[int]  # which tensors
    options: list[str]


def _arguments(function: Callable[..., Any]) -> tuple[list[str], list[str]]:
    """The names of a function's arguments before `reduction`, and of those after it."""
    names = list(inspect.signature(function).parameters)
    where = names.index("reduction")
    return names[:where], names[where + 1 :]


def exchanged(derivative: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A function's derivative with respect to its second argument, where the first and the second can be exchanged."""

    @wraps(derivative)
    def other(grad: Tensor, input: Tensor, target: Tensor, *rest: Any) -> Tensor:
        return derivative(grad, target, input, *rest)

    return other

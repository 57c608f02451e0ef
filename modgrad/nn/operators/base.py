"""What operators are made of: primitives that take a function of `functional`, and its derivatives by their names.

What a derivative's arguments are called says what it reads, and so what is saved for it: an argument of the function,
its `output`, or `<argument>_shape`, of the argument whose gradient it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any, ClassVar, NamedTuple

from torch import Tensor

from modgrad import functional
from modgrad.graph import Primitive
from modgrad.nn.broadcasting import fitted, form


class Unary(Primitive):
    """A function of one tensor, whose derivative reads its input, its output, or neither.

    Made by `class Sin(Unary, function=functional.sin)`, with `functional.sin_backward` beside it.
    """

    function: Any
    derivative: Any
    uses: ClassVar[str] = ""

    def __init_subclass__(cls, function: Callable[..., Tensor] | None = None, **named: Any) -> None:
        super().__init_subclass__(**named)
        if function is not None:
            derivative = getattr(functional, f"{function.__name__}_backward")
            cls.function, cls.derivative = staticmethod(function), staticmethod(derivative)
            cls.uses = " ".join([*signature(derivative).parameters][1:])

    def forward(self, call: Any, input: Tensor) -> Tensor:
        output = type(self).function(input)
        if self.uses:
            call.save(*[input if name == "input" else output for name in self.uses.split()])
        return output

    def backward(self, call: Any, grad: Tensor) -> Tensor:
        return type(self).derivative(grad, *call.saved)


class Derivative(NamedTuple):
    """The derivative with respect to one argument of a function."""

    position: int  # the argument's
    function: Any
    reads: tuple[str, ...]


class Formula(Primitive):
    """A function of tensors, numbers and settings, which all come by position; tensors may broadcast.

    Made by `class Lerp(Formula, function=functional.lerp)`. The derivatives are `functional.lerp_grad_<argument>`; of a
    function of one tensor `functional.lerp_backward`. An argument that has none has the derivative 0, or no derivative.
    """

    function: Any
    derivatives: ClassVar[tuple[Derivative, ...]]
    _arguments: ClassVar[tuple[str, ...]]
    _to_save: ClassVar[dict[tuple[bool, ...], tuple[tuple[int, ...], bool]]]

    def __init_subclass__(cls, function: Callable[..., Tensor] | None = None, **named: Any) -> None:
        super().__init_subclass__(**named)
        if function is not None:
            cls.function = staticmethod(function)
            cls._arguments = tuple(signature(function).parameters)
            cls.derivatives = tuple(_derivatives_of(function.__name__, cls._arguments))
            cls._to_save = {}

    def forward(self, call: Any, *inputs: Any) -> Tensor:
        output = type(self).function(*inputs)
        call.forms = [form(inputs[d.position]) for d in self.derivatives]
        positions, saves_output = self._plan(tuple([call.wants(d.position) for d in self.derivatives]))
        kept = [inputs[position] for position in positions]
        kept.append(output if saves_output else None)
        within = [x for value in kept if type(value) is tuple for x in value if isinstance(x, Tensor)]
        call.save(*kept, *within)  # those too, so that a change of an index in between is found
        return output

    def backward(self, call: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        wanted = tuple([call.wants(d.position) for d in self.derivatives])
        positions, _ = self._plan(wanted)
        known = {self._arguments[p]: value for p, value in zip(positions, call.saved, strict=False)}
        known["output"] = call.saved[len(positions)]
        found: list[Tensor | None] = [None] * len(call.sources)
        for wants, derivative, own in zip(wanted, self.derivatives, call.forms, strict=True):
            if wants:
                known[self._arguments[derivative.position] + "_shape"] = own[0]
                result = derivative.function(grad, *[known[name] for name in derivative.reads])
                found[derivative.position] = fitted(result, own)
        return tuple(found)

    @classmethod
    def _plan(cls, wanted: tuple[bool, ...]) -> tuple[tuple[int, ...], bool]:
        """What to save if these derivatives are wanted: the arguments at these positions; whether the output too."""
        plan = cls._to_save.get(wanted)
        if plan is None:
            reads = {name for wants, d in zip(wanted, cls.derivatives, strict=True) if wants for name in d.reads}
            plan = tuple(i for i, name in enumerate(cls._arguments) if name in reads), "output" in reads
            cls._to_save[wanted] = plan
        return plan


def _derivatives_of(name: str, arguments: Sequence[str]) -> list[Derivative]:
    found = []
    for position, argument in enumerate(arguments):
        function = getattr(functional, f"{name}_grad_{argument}", None)
        if function is None and position == 0:
            function = getattr(functional, f"{name}_backward", None)
        if function is not None:
            reads = tuple(signature(function).parameters)[1:]
            strange = {r for r in reads if r not in (*arguments, "output", f"{argument}_shape")}
            assert not strange, f"{function.__name__} reads {strange}, which {name} does not have"
            found.append(Derivative(position, function, reads))
    assert found, f"{name} has no derivative beside it"
    return found


def camel(name: str) -> str:
    """A function's name as its class has it."""
    return "".join(part.capitalize() for part in name.split("_"))


def made(name: str, base: type, module: str, function: Callable[..., Tensor]) -> type:
    """What `class Name(base, function=function)` makes in `module`: for a table of functions."""
    document = (function.__doc__ or "").split("\n")[0]
    return type(base)(name, (base,), {"__doc__": document, "__module__": module}, function=function)


def sizes(given: tuple[Any, ...]) -> tuple[int, ...]:
    """Sizes or dimensions given one by one or as one sequence."""
    return tuple(given[0]) if len(given) == 1 and isinstance(given[0], (tuple, list)) else tuple(given)


def dim_of(input: Tensor, dim: int, extra: int = 0) -> int:
    """A dimension as a number from 0 up. extra: 1 where it may also name a new last one."""
    count = max(input.dim() + extra, 1)
    if not -count <= dim < count:
        raise IndexError(f"dimension {dim} of a tensor of shape {tuple(input.shape)}: expected {-count} to {count - 1}")
    return dim % count


def dims_of(input: Tensor, dim: int | Sequence[int] | None) -> tuple[int, ...]:
    """Dimensions as numbers from 0 up; None or an empty list is all of them."""
    count = input.dim()
    given = range(count) if dim is None else (dim,) if isinstance(dim, int) else tuple(dim) or range(count)
    for d in given:
        if not -max(count, 1) <= d < max(count, 1):
            raise IndexError(f"dimension {d} of a tensor of shape {tuple(input.shape)}: it has {count} dimensions")
    return tuple(d % count for d in given) if count else ()

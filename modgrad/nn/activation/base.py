"""What elementwise activations have in common: what they keep, their options, and how they are shown."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from modgrad.graph import Call, Primitive


class _Elementwise(Primitive):
    """A function of each element by itself.

    function: of the input, and the options. derivative: of grad, what was kept, and the options. derivative_: the same,
    written into grad, where there is one. `inplace`, in those that have it, is taken for PyTorch's sake and has no
    effect: a Variable is never changed in place.
    """

    function: Any
    derivative: Any
    derivative_: Any = None
    options: ClassVar[tuple[str, ...]] = ()  # names of attributes

    def __init_subclass__(cls, **named: Any) -> None:
        super().__init_subclass__(**named)
        if "derivative" in cls.__dict__ and cls.derivative_ is None:
            cls.backward_ = None

    def extra_repr(self) -> str:
        shown = [f"{name}={getattr(self, name)!r}" for name in self.options]
        return ", ".join(shown + ["inplace=True"] * getattr(self, "inplace", False))


class InPlace(_Elementwise):
    """`inplace` is its only argument."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace


class OfOutput(_Elementwise):
    """Its derivative is told by its output, which is all that is kept: often the next layer keeps it too."""

    def forward(self, call: Call, input: Tensor) -> Tensor:
        output = self.function(input)
        call.save(output)
        return output

    def backward(self, call: Call, grad: Tensor) -> Tensor:
        (output,) = call.saved
        return self.derivative(grad, output)

    def backward_(self, call: Call, grad: Tensor) -> Tensor:
        (output,) = call.saved
        return self.derivative_(grad, output)


class OfInput(OfOutput):
    """Its derivative is told by its input, which is all that is kept."""

    def forward(self, call: Call, input: Tensor) -> Tensor:
        call.save(input)
        return self.function(input)

    def backward(self, call: Call, grad: Tensor) -> Tensor:
        (input,) = call.saved
        return self.derivative(grad, input)

    def backward_(self, call: Call, grad: Tensor) -> Tensor:
        (input,) = call.saved
        return self.derivative_(grad, input)


class WithOptions(_Elementwise):
    """The layer's attributes `options` go to the function and to its derivative, as they were in forward."""

    def keeps_output(self) -> bool:
        """Whether the output tells the derivative, in place of the input."""
        return False

    def forward(self, call: Any, input: Tensor) -> Tensor:
        call.options = options = tuple(getattr(self, name) for name in self.options)
        output = self.function(input, *options)
        call.save(output if self.keeps_output() else input)
        return output

    def backward(self, call: Any, grad: Tensor) -> Tensor:
        return self.derivative(grad, *call.saved, *call.options)

    def backward_(self, call: Any, grad: Tensor) -> Tensor:
        return self.derivative_(grad, *call.saved, *call.options)

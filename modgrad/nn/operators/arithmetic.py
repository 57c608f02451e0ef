"""The four operations and powers on Variables."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from modgrad import functional
from modgrad.graph import Primitive
from modgrad.graph.dispatch import on_plain_values, operator
from modgrad.nn.broadcasting import fitted, form

_T: Any = Tensor


class Elementwise(Primitive):
    """A function of two broadcast tensors or numbers. Keeps those of them that its derivatives use."""

    function: Any
    grad_input: Any  # of (grad, input, other)
    grad_other: Any
    input_uses: ClassVar[str] = ""  # which values grad_input reads: "input", "other" or both
    other_uses: ClassVar[str] = ""

    def forward(self, call: Any, input: Any, other: Any) -> Tensor:
        used = (self.input_uses if call.wants(0) else "") + (self.other_uses if call.wants(1) else "")
        call.save(input if "input" in used else None, other if "other" in used else None)
        call.forms = form(input), form(other)
        return type(self).function(input, other)

    def backward(self, call: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        input, other = call.saved
        grad_input = grad_other = None
        if call.wants(0):
            grad_input = fitted(type(self).grad_input(grad, input, other), call.forms[0])
        if call.wants(1):
            grad_other = fitted(type(self).grad_other(grad, input, other), call.forms[1])
        return grad_input, grad_other


class Add(Elementwise):
    function = staticmethod(functional.add)
    grad_input = staticmethod(functional.add_grad_input)
    grad_other = staticmethod(functional.add_grad_other)


class Sub(Elementwise):
    function = staticmethod(functional.sub)
    grad_input = staticmethod(functional.sub_grad_input)
    grad_other = staticmethod(functional.sub_grad_other)


class Mul(Elementwise):
    function = staticmethod(functional.mul)
    grad_input = staticmethod(functional.mul_grad_input)
    grad_other = staticmethod(functional.mul_grad_other)
    input_uses, other_uses = "other", "input"


class Div(Elementwise):
    function = staticmethod(functional.div)
    grad_input = staticmethod(functional.div_grad_input)
    grad_other = staticmethod(functional.div_grad_other)
    input_uses, other_uses = "other", "input other"


class Pow(Elementwise):
    function = staticmethod(functional.pow)
    grad_input = staticmethod(functional.pow_grad_input)
    grad_other = staticmethod(functional.pow_grad_other)
    input_uses = other_uses = "input other"


_ADD, _SUB, _MUL, _DIV, _POW = Add(), Sub(), Mul(), Div(), Pow()


@operator(torch.add, _T.add, _T.__add__, _T.__radd__)
def _add(input: Any, other: Any, *, alpha: float = 1) -> Any:
    return _ADD(input, other if alpha == 1 else _MUL(other, alpha))


@operator(torch.sub, torch.subtract, _T.sub, _T.subtract, _T.__sub__)
def _sub(input: Any, other: Any, *, alpha: float = 1) -> Any:
    return _SUB(input, other if alpha == 1 else _MUL(other, alpha))


@operator(torch.rsub, _T.__rsub__)
def _rsub(input: Any, other: Any, *, alpha: float = 1) -> Any:
    return _sub(other, input, alpha=alpha)


@operator(torch.mul, torch.multiply, _T.mul, _T.multiply, _T.__mul__, _T.__rmul__)
def _mul(input: Any, other: Any) -> Any:
    return _MUL(input, other)


@operator(torch.div, torch.divide, torch.true_divide, _T.div, _T.divide, _T.true_divide, _T.__truediv__, _T.__div__)
def _div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Any:
    if rounding_mode is not None:  # a constant almost everywhere
        return on_plain_values(torch.div, (input, other), {"rounding_mode": rounding_mode})
    return _DIV(input, other)


@operator(_T.__rdiv__, _T.__rtruediv__)
def _rdiv(input: Any, other: Any) -> Any:
    return _DIV(other, input)


@operator(torch.reciprocal, _T.reciprocal)
def _reciprocal(input: Any) -> Any:
    return _DIV(1.0, input)


@operator(torch.pow, _T.pow, _T.__pow__)
def _pow(input: Any, exponent: Any) -> Any:
    return _POW(input, exponent)


@operator(_T.__rpow__)
def _rpow(input: Any, base: Any) -> Any:
    return _POW(base, input)


@operator(torch.square, _T.square)
def _square(input: Any) -> Any:
    return _POW(input, 2)


@operator(torch.float_power, _T.float_power)
def _float_power(input: Any, exponent: Any) -> Any:
    base, exponent = (x.double() if isinstance(x, Tensor) else x for x in (input, exponent))
    return _POW(base, exponent)


@operator(torch.ldexp, _T.ldexp)
def _ldexp(input: Any, other: Any) -> Any:
    return _MUL(input, _POW(2.0, other))


@operator(torch.frexp, _T.frexp)
def _frexp(input: Any) -> Any:
    _, exponent = on_plain_values(torch.frexp, (input,), {})
    return torch.return_types.frexp((_MUL(input, torch.exp2(-exponent.to(input.dtype))), exponent))

"""Arithmetic on Variables: elementwise, reductions, matrix products, activations by function."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from modgrad import functional
from modgrad.graph import Primitive
from modgrad.graph.dispatch import operator
from modgrad.nn.activation import LogSoftmax, ReLU, Sigmoid, Softmax, Tanh

_T: Any = Tensor
_torch: Any = torch


def _form(x: Any) -> tuple[torch.Size, torch.dtype] | None:
    return (x.shape, x.dtype) if isinstance(x, Tensor) else None


def _fitted(grad: Tensor, form: Any) -> Tensor:
    """A gradient of the output's shape and dtype, brought to an input's."""
    shape, dtype = form
    if grad.dim() != len(shape) or grad.shape != shape:  # in this order: a free batch size is compared with no number
        grad = functional.sum_to_shape(grad, shape)
    return grad if grad.dtype == dtype else grad.to(dtype)


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
        call.forms = _form(input), _form(other)
        return type(self).function(input, other)

    def backward(self, call: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        input, other = call.saved
        grad_input = grad_other = None
        if call.wants(0):
            grad_input = _fitted(type(self).grad_input(grad, input, other), call.forms[0])
        if call.wants(1):
            grad_other = _fitted(type(self).grad_other(grad, input, other), call.forms[1])
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


class Unary(Primitive):
    """A function of one tensor, whose derivative reads its input, its output, or neither."""

    function: Any
    derivative: Any
    uses: ClassVar[str] = ""

    def forward(self, call: Any, input: Tensor) -> Tensor:
        output = type(self).function(input)
        if self.uses:
            call.save(input if self.uses == "input" else output)
        return output

    def backward(self, call: Any, grad: Tensor) -> Tensor:
        return type(self).derivative(grad, *call.saved)


class Neg(Unary):
    function = staticmethod(functional.neg)
    derivative = staticmethod(functional.neg_backward)


class Exp(Unary):
    function = staticmethod(functional.exp)
    derivative = staticmethod(functional.exp_backward)
    uses = "output"


class Log(Unary):
    function = staticmethod(functional.log)
    derivative = staticmethod(functional.log_backward)
    uses = "input"


class Sqrt(Unary):
    function = staticmethod(functional.sqrt)
    derivative = staticmethod(functional.sqrt_backward)
    uses = "output"


class Abs(Unary):
    function = staticmethod(functional.abs)
    derivative = staticmethod(functional.abs_backward)
    uses = "input"


class MatMul(Primitive):
    """Matrix product of the last two dimensions; vectors and broadcast leading dimensions as in torch.matmul."""

    def forward(self, call: Any, input: Tensor, other: Tensor) -> Tensor:
        call.save(input if call.wants(1) else None, other if call.wants(0) else None)
        call.shapes = input.shape, other.shape
        return functional.matmul(input, other)

    def backward(self, call: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        input, other = call.saved
        input_shape, other_shape = call.shapes
        return (
            functional.matmul_grad_input(grad, input_shape, other) if call.wants(0) else None,
            functional.matmul_grad_other(grad, input, other_shape) if call.wants(1) else None,
        )


class Reduction(Primitive):
    """A sum or a mean over some dimensions."""

    function: Any
    derivative: Any

    def forward(self, call: Any, input: Tensor, dims: tuple[int, ...], keepdim: bool) -> Tensor:
        call.how = input.shape, dims, keepdim
        return type(self).function(input, dims, keepdim)

    def backward(self, call: Any, grad: Tensor) -> Tensor:
        return type(self).derivative(grad, *call.how)


class Sum(Reduction):
    function = staticmethod(functional.sum)
    derivative = staticmethod(functional.sum_backward)


class Mean(Reduction):
    function = staticmethod(functional.mean)
    derivative = staticmethod(functional.mean_backward)


_ADD, _SUB, _MUL, _DIV, _POW = Add(), Sub(), Mul(), Div(), Pow()
_SUM, _MEAN, _MATMUL = Sum(), Mean(), MatMul()


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
    if rounding_mode is not None:
        raise RuntimeError(
            f"div(rounding_mode={rounding_mode!r}) of a Variable has no derivative: divide its .detach()"
        )
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


operator(torch.neg, torch.negative, _T.neg, _T.negative, _T.__neg__)(Neg())
operator(torch.exp, _T.exp)(Exp())
operator(torch.log, _T.log)(Log())
operator(torch.sqrt, _T.sqrt)(Sqrt())
operator(torch.abs, torch.absolute, _T.abs, _T.absolute, _T.__abs__)(Abs())
operator(torch.relu, _T.relu)(ReLU())
operator(torch.tanh, _T.tanh)(Tanh())
operator(torch.sigmoid, _T.sigmoid)(Sigmoid())


@operator(torch.softmax, _T.softmax)
def _softmax(input: Any, dim: int, dtype: torch.dtype | None = None) -> Any:
    return Softmax(dim)(input if dtype is None else input.to(dtype))


@operator(torch.log_softmax, _T.log_softmax)
def _log_softmax(input: Any, dim: int, dtype: torch.dtype | None = None) -> Any:
    return LogSoftmax(dim)(input if dtype is None else input.to(dtype))


@operator(torch.matmul, torch.mm, torch.bmm, torch.mv, torch.dot)
def _torch_matmul(input: Any, other: Any = None, *, mat2: Any = None, vec: Any = None, tensor: Any = None) -> Any:
    given = [x for x in (other, mat2, vec, tensor) if x is not None]
    return _MATMUL(input, *given)


operator(_T.matmul, _T.mm, _T.bmm, _T.mv, _T.dot, _T.__matmul__)(_torch_matmul)


@operator(_T.__rmatmul__)
def _rmatmul(input: Any, other: Any) -> Any:
    return _MATMUL(other, input)


def _dims(input: Tensor, dim: int | Sequence[int] | None) -> tuple[int, ...]:
    """Dimensions as numbers from 0 up; None or an empty list is all of them."""
    count = input.dim()
    given = range(count) if dim is None else (dim,) if isinstance(dim, int) else tuple(dim) or range(count)
    for d in given:
        if not -max(count, 1) <= d < max(count, 1):
            raise IndexError(f"dimension {d} of a tensor of shape {tuple(input.shape)}: it has {count} dimensions")
    return tuple(d % count for d in given) if count else ()


def _reduce(reduction: Reduction, input: Any, dim: Any, keepdim: bool, dtype: torch.dtype | None) -> Any:
    input = input if dtype is None else input.to(dtype)
    return reduction(input, _dims(input, dim), keepdim)


@operator(torch.sum, _T.sum)
def _sum(
    input: Any, dim: Any = None, keepdim: bool = False, *, axis: Any = None, dtype: torch.dtype | None = None
) -> Any:
    return _reduce(_SUM, input, dim if axis is None else axis, keepdim, dtype)


@operator(torch.mean, _T.mean)
def _mean(
    input: Any, dim: Any = None, keepdim: bool = False, *, axis: Any = None, dtype: torch.dtype | None = None
) -> Any:
    return _reduce(_MEAN, input, dim if axis is None else axis, keepdim, dtype)

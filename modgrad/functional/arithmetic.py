"""Elementwise arithmetic with broadcasting, powers, exponentials and matrix products, each beside its derivatives.

Where forward broadcasts an input, its derivative first has the output's shape; `sum_to_shape` brings it back.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from modgrad.functional.kernel import kernel

__all__ = [
    "abs",
    "abs_backward",
    "add",
    "add_grad_input",
    "add_grad_other",
    "div",
    "div_grad_input",
    "div_grad_other",
    "exp",
    "exp_backward",
    "expand",
    "log",
    "log_backward",
    "matmul",
    "matmul_grad_input",
    "matmul_grad_other",
    "mul",
    "mul_grad_input",
    "mul_grad_other",
    "neg",
    "neg_backward",
    "pow",
    "pow_grad_input",
    "pow_grad_other",
    "sqrt",
    "sqrt_backward",
    "sub",
    "sub_grad_input",
    "sub_grad_other",
    "sum_to_shape",
]

Number = Tensor | float


@kernel(Tensor.sum_to_size)
def sum_to_shape(grad: Tensor, shape: torch.Size) -> Tensor:
    """Undo broadcasting: a value used at several places gets the sum of their gradients.

    grad: the broadcast shape; returns `shape`.
    """
    added = grad.dim() - len(shape)
    stretched = [d for d in range(added, grad.dim()) if shape[d - added] == 1 and grad.shape[d] != 1]
    dims = [*range(added), *stretched]
    return grad.sum(dims, keepdim=True).reshape(shape) if dims else grad


def expand(input: Tensor, shape: tuple[int, ...]) -> Tensor:
    """`input` repeated along new and one-element dimensions. Derivative: `sum_to_shape`."""
    return input.expand(shape)


def add(input: Number, other: Number) -> Tensor:
    """y = a + b.   dL/da = dL/db = dL/dy."""
    return torch.add(input, other)


def add_grad_input(grad: Tensor, input: Number, other: Number) -> Tensor:
    """dL/da = dL/dy."""
    return grad


def add_grad_other(grad: Tensor, input: Number, other: Number) -> Tensor:
    """dL/db = dL/dy."""
    return grad


def sub(input: Number, other: Number) -> Tensor:
    """y = a - b."""
    return input - other  # type: ignore[return-value]


def sub_grad_input(grad: Tensor, input: Number, other: Number) -> Tensor:
    """dL/da = dL/dy."""
    return grad


def sub_grad_other(grad: Tensor, input: Number, other: Number) -> Tensor:
    """dL/db = -dL/dy."""
    return -grad


def mul(input: Number, other: Number) -> Tensor:
    """y = a * b."""
    return input * other  # type: ignore[return-value]


def mul_grad_input(grad: Tensor, input: Number, other: Number) -> Tensor:
    """dL/da = dL/dy * b."""
    return grad * other


def mul_grad_other(grad: Tensor, input: Number, other: Number) -> Tensor:
    """dL/db = dL/dy * a."""
    return grad * input


def div(input: Number, other: Number) -> Tensor:
    """y = a / b."""
    return input / other  # type: ignore[return-value]


def div_grad_input(grad: Tensor, input: Number, other: Number) -> Tensor:
    """dL/da = dL/dy / b."""
    return grad / other


def div_grad_other(grad: Tensor, input: Number, other: Number) -> Tensor:
    """dL/db = -dL/dy * a / b^2."""
    return -grad * ((input / other) / other)


def pow(input: Number, exponent: Number) -> Tensor:
    """y = a^b."""
    return torch.pow(input, exponent)  # type: ignore[arg-type]


def pow_grad_input(grad: Tensor, input: Number, exponent: Number) -> Tensor:
    """dL/da = dL/dy * b a^(b-1), and 0 where b = 0, at a = 0 too."""
    if not isinstance(exponent, Tensor):
        return torch.zeros_like(grad) if exponent == 0 else grad * (exponent * input ** (exponent - 1))
    slope = exponent * torch.pow(input, exponent - 1)
    return grad * slope.masked_fill(exponent == 0, 0)


def pow_grad_other(grad: Tensor, input: Number, exponent: Number) -> Tensor:
    """dL/db = dL/dy * a^b log(a), and 0 where a = 0 and b >= 0."""
    log = torch.log(input) if isinstance(input, Tensor) else _log(input)
    slope = torch.pow(input, exponent) * log  # type: ignore[arg-type]
    return grad * torch.where((exponent >= 0) & (input == 0), 0, slope)  # type: ignore[arg-type]


def _log(x: float) -> float:
    """ln x as a tensor would have it: -inf at 0 and NaN below."""
    return math.log(x) if x > 0 else (-math.inf if x == 0 else math.nan)


def neg(input: Tensor) -> Tensor:
    """y = -x."""
    return -input


def neg_backward(grad: Tensor) -> Tensor:
    """dL/dx = -dL/dy."""
    return -grad


def exp(input: Tensor) -> Tensor:
    """y = e^x."""
    return torch.exp(input)


def exp_backward(grad: Tensor, output: Tensor) -> Tensor:
    """dL/dx = dL/dy * y."""
    return grad * output


def log(input: Tensor) -> Tensor:
    """y = ln x."""
    return torch.log(input)


def log_backward(grad: Tensor, input: Tensor) -> Tensor:
    """dL/dx = dL/dy / x."""
    return grad / input


def sqrt(input: Tensor) -> Tensor:
    """y = x^(1/2)."""
    return torch.sqrt(input)


def sqrt_backward(grad: Tensor, output: Tensor) -> Tensor:
    """dL/dx = dL/dy / (2 y)."""
    return grad / (2 * output)


def abs(input: Tensor) -> Tensor:
    """y = |x|."""
    return torch.abs(input)


def abs_backward(grad: Tensor, input: Tensor) -> Tensor:
    """dL/dx = dL/dy * sign(x), 0 at x = 0."""
    return grad * torch.sign(input)


def matmul(input: Tensor, other: Tensor) -> Tensor:
    """y = a b: a (..., n, k), b (..., k, m), y (..., n, m). Either may be a vector (k); the rest broadcasts."""
    return torch.matmul(input, other)


def matmul_grad_input(grad: Tensor, input_shape: torch.Size, other: Tensor) -> Tensor:
    """dL/da = dL/dy b^T, summed over broadcast dimensions.   grad (..., n, m), other (..., k, m) transposed."""
    grad, other = _as_matrices(grad, len(input_shape), other.dim(), other, which=1)
    product = torch.matmul(grad, other.mT)
    matrix_shape = input_shape if len(input_shape) > 1 else torch.Size((1, *input_shape))
    return sum_to_shape(product, matrix_shape).reshape(input_shape)


def matmul_grad_other(grad: Tensor, input: Tensor, other_shape: torch.Size) -> Tensor:
    """dL/db = a^T dL/dy, summed over broadcast dimensions."""
    grad, input = _as_matrices(grad, input.dim(), len(other_shape), input, which=0)
    product = torch.matmul(input.mT, grad)
    matrix_shape = other_shape if len(other_shape) > 1 else torch.Size((*other_shape, 1))
    return sum_to_shape(product, matrix_shape).reshape(other_shape)


def _as_matrices(grad: Tensor, input_dim: int, other_dim: int, factor: Tensor, which: int) -> tuple[Tensor, Tensor]:
    """`grad` and one factor with the dimension that a vector operand did without put back."""
    if other_dim == 1:  # y lost its columns
        grad = grad.unsqueeze(-1)
    if input_dim == 1:  # y lost its rows
        grad = grad.unsqueeze(-2)
    if factor.dim() == 1:
        factor = factor.unsqueeze(0) if which == 0 else factor.unsqueeze(1)
    return grad, factor

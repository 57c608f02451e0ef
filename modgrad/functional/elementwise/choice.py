"""Functions that choose among values or cut them, each beside its derivative.

At a tie and at a bound the derivatives are PyTorch's: `maximum` halves the gradient, `fmax` gives it to the first, and
a value at its bound gets it whole.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = [
    "clamp",
    "clamp_grad_input",
    "clamp_grad_max",
    "clamp_grad_min",
    "copysign",
    "copysign_grad_input",
    "fmax",
    "fmax_grad_input",
    "fmax_grad_other",
    "fmin",
    "fmin_grad_input",
    "fmin_grad_other",
    "fmod",
    "fmod_grad_input",
    "fmod_grad_other",
    "frac",
    "frac_backward",
    "maximum",
    "maximum_grad_input",
    "maximum_grad_other",
    "minimum",
    "minimum_grad_input",
    "minimum_grad_other",
    "nan_to_num",
    "nan_to_num_backward",
    "remainder",
    "remainder_grad_input",
    "remainder_grad_other",
    "where",
    "where_grad_input",
    "where_grad_other",
]

Number = Tensor | float
Bound = Tensor | float | None


def where(condition: Tensor, input: Number, other: Number) -> Tensor:
    """y = a where the condition holds, b elsewhere. All broadcast."""
    return torch.where(condition, input, other)


def where_grad_input(grad: Tensor, condition: Tensor) -> Tensor:
    """dL/da = dL/dy where the condition holds, 0 elsewhere."""
    return torch.where(condition, grad, 0)


def where_grad_other(grad: Tensor, condition: Tensor) -> Tensor:
    """dL/db = 0 where the condition holds, dL/dy elsewhere."""
    return torch.where(condition, 0, grad)


def maximum(input: Tensor, other: Tensor) -> Tensor:
    """y = the larger of a and b; NaN if either is."""
    return torch.maximum(input, other)


def maximum_grad_input(grad: Tensor, input: Tensor, other: Tensor) -> Tensor:
    """dL/da = dL/dy where a > b, half of it where a = b."""
    return torch.where(input < other, 0, torch.where(input == other, grad / 2, grad))


def maximum_grad_other(grad: Tensor, input: Tensor, other: Tensor) -> Tensor:
    """dL/db = dL/dy where b > a, half of it where a = b."""
    return maximum_grad_input(grad, other, input)


def minimum(input: Tensor, other: Tensor) -> Tensor:
    """y = the smaller of a and b; NaN if either is."""
    return torch.minimum(input, other)


def minimum_grad_input(grad: Tensor, input: Tensor, other: Tensor) -> Tensor:
    """dL/da = dL/dy where a < b, half of it where a = b."""
    return torch.where(input > other, 0, torch.where(input == other, grad / 2, grad))


def minimum_grad_other(grad: Tensor, input: Tensor, other: Tensor) -> Tensor:
    """dL/db = dL/dy where b < a, half of it where a = b."""
    return minimum_grad_input(grad, other, input)


def fmax(input: Tensor, other: Tensor) -> Tensor:
    """y = the larger of a and b, or the one of them that is not NaN."""
    return torch.fmax(input, other)


def fmax_grad_input(grad: Tensor, input: Tensor, other: Tensor) -> Tensor:
    """dL/da = dL/dy where a >= b or b is NaN."""
    return torch.where((input >= other) | torch.isnan(other), grad, 0)


def fmax_grad_other(grad: Tensor, input: Tensor, other: Tensor) -> Tensor:
    """dL/db = dL/dy in the other places."""
    return torch.where((input >= other) | torch.isnan(other), 0, grad)


def fmin(input: Tensor, other: Tensor) -> Tensor:
    """y = the smaller of a and b, or the one of them that is not NaN."""
    return torch.fmin(input, other)


def fmin_grad_input(grad: Tensor, input: Tensor, other: Tensor) -> Tensor:
    """dL/da = dL/dy where a <= b or b is NaN."""
    return torch.where((input <= other) | torch.isnan(other), grad, 0)


def fmin_grad_other(grad: Tensor, input: Tensor, other: Tensor) -> Tensor:
    """dL/db = dL/dy in the other places."""
    return torch.where((input <= other) | torch.isnan(other), 0, grad)


def clamp(input: Tensor, min: Bound, max: Bound) -> Tensor:
    """y = min(max(x, low), high). The bounds are numbers, tensors or None; where high < low, y = high."""
    return torch.clamp(input, min, max)  # type: ignore[arg-type]


def clamp_grad_input(grad: Tensor, input: Tensor, min: Bound, max: Bound) -> Tensor:
    """dL/dx = dL/dy where low <= x <= high, 0 elsewhere."""
    inside: Tensor | None = None if min is None else input >= min
    if max is not None:
        inside = input <= max if inside is None else inside & (input <= max)
    assert inside is not None, "torch.clamp takes one bound at least"
    return torch.where(inside, grad, 0)


def clamp_grad_min(grad: Tensor, input: Tensor, min: Tensor, max: Bound) -> Tensor:
    """dL/dlow = dL/dy where x < low < high, 0 elsewhere."""
    raised = input < min
    return torch.where(raised if max is None else raised & (min < max), grad, 0)


def clamp_grad_max(grad: Tensor, input: Tensor, min: Bound, max: Tensor) -> Tensor:
    """dL/dhigh = dL/dy where x > high or low > high, 0 elsewhere."""
    lowered = input > max
    return torch.where(lowered if min is None else lowered | (max < min), grad, 0)


def nan_to_num(input: Tensor, nan: float | None, posinf: float | None, neginf: float | None) -> Tensor:
    """y = x, with numbers for NaN (0 if None) and the infinities (the largest and the lowest there are, if None)."""
    return torch.nan_to_num(input, nan, posinf, neginf)


def nan_to_num_backward(grad: Tensor, input: Tensor) -> Tensor:
    """dL/dx = dL/dy where x is finite, 0 elsewhere."""
    return grad * torch.isfinite(input)


def copysign(input: Tensor, other: Number) -> Tensor:
    """y = |a| with the sign of b, whose derivative is 0."""
    return torch.copysign(input, other)


def copysign_grad_input(grad: Tensor, input: Tensor, output: Tensor) -> Tensor:
    """dL/da = dL/dy * y / a, which is 1 or -1, and 0 at a = 0."""
    return grad * torch.where(input == 0, 0, output / input)


def frac(input: Tensor) -> Tensor:
    """y = x without its integer part."""
    return torch.frac(input)


def frac_backward(grad: Tensor) -> Tensor:
    """dL/dx = dL/dy."""
    return grad


def fmod(input: Tensor, other: Number) -> Tensor:
    """y = a - b trunc(a / b): the remainder, of a's sign."""
    return torch.fmod(input, other)


def fmod_grad_input(grad: Tensor) -> Tensor:
    """dL/da = dL/dy."""
    return grad


def fmod_grad_other(grad: Tensor, input: Tensor, other: Tensor) -> Tensor:
    """dL/db = -dL/dy * trunc(a / b)."""
    return -grad * torch.div(input, other, rounding_mode="trunc")


def remainder(input: Number, other: Number) -> Tensor:
    """y = a - b floor(a / b): the remainder, of b's sign."""
    return torch.remainder(input, other)  # type: ignore[arg-type]


def remainder_grad_input(grad: Tensor) -> Tensor:
    """dL/da = dL/dy."""
    return grad


def remainder_grad_other(grad: Tensor, input: Number, other: Tensor) -> Tensor:
    """dL/db = -dL/dy * floor(a / b)."""
    numerator = input if isinstance(input, Tensor) else torch.full_like(other, input)
    return -grad * torch.div(numerator, other, rounding_mode="floor")

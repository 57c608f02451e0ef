"""The affine map of Variables by weights that may be Variables too, as a part of a parameter is."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from modgrad import functional
from modgrad.graph import Primitive


class Affine(Primitive):
    """x W^T + b.   x (..., I), W (O, I), b (O) or None."""

    autocast = "linear"

    def forward(self, call: Any, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        call.save(input if call.wants(1) else None, weight if call.wants(0) else None)
        return functional.linear(input, weight, bias)

    def backward(self, call: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        input, weight = call.saved
        return (
            functional.linear_grad_input(grad, weight) if call.wants(0) else None,
            functional.linear_grad_weight(grad, input) if call.wants(1) else None,
            functional.linear_grad_bias(grad) if call.wants(2) else None,
        )


_AFFINE = Affine()


def affine(input: Any, weight: Any, bias: Any = None) -> Any:
    """x W^T + b, of Variables, Parameters and plain tensors.   x (..., I), W (O, I), b (O) or None."""
    return _AFFINE(input, weight, bias)

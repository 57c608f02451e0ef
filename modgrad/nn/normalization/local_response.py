"""Normalization by neighbouring channels: LocalResponseNorm; and what stands where CrossMapLRN2d would."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from modgrad import functional
from modgrad.graph import Module, Primitive

__all__ = ["CrossMapLRN2d", "LocalResponseNorm"]


class LocalResponseNorm(Primitive):
    """y_c = x_c / (k + alpha / size * sum of x_j^2 over `size` channels j around c)^beta.   input (N, C, L, ...)."""

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        if size < 1:
            raise ValueError(f"LocalResponseNorm(size={size}): expected the number of channels to sum over, at least 1")
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, call: Any, input: Tensor) -> Tensor:
        if input.dim() < 3:
            raise ValueError(
                f"{self} was given an input of shape {tuple(input.shape)}: expected three dimensions or more, "
                "(N, C, L) or (N, C, H, W)"
            )
        call.save(input)
        return functional.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def backward(self, call: Any, grad: Tensor) -> Tensor:
        (input,) = call.saved
        return functional.local_response_norm_backward(grad, input, self.size, self.alpha, self.beta, self.k)

    def autocast(self, input: Tensor) -> str:
        return "local_response_norm" if input.dim() == 3 else "local_response_norm_of_images"

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


class CrossMapLRN2d(Module):
    """Refused: what PyTorch computes under this name is not what it is named for. Write LocalResponseNorm."""

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1) -> None:
        raise NotImplementedError(
            f"CrossMapLRN2d({size}, {alpha}, {beta}, {k}): PyTorch's layer of this name never takes the first channel "
            "out of its running sum, and the gradient that it gives is not the derivative of its output. Write "
            f"LocalResponseNorm({size}, {alpha}, {beta}, {k}), which computes the published formula"
        )

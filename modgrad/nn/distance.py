"""Distances and similarities of vectors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from modgrad import functional
from modgrad.graph import Primitive
from modgrad.graph.errors import describe
from modgrad.nn.broadcasting import forms, restored

__all__ = ["CosineSimilarity", "PairwiseDistance"]


class _OfTwo(Primitive):
    """A number for each pair of vectors, of two inputs that broadcast."""

    def forward(self, call: Any, x1: Tensor, x2: Tensor) -> Tensor:
        call.forms = forms((x1, x2))
        dtype = torch.result_type(x1, x2)
        if not dtype.is_floating_point:
            raise TypeError(f"{self}: x1 is {describe(x1)}, x2 is {describe(x2)}; expected floating-point vectors")
        if x1.dim() != x2.dim() or x1.shape != x2.shape:
            try:
                x1, x2 = torch.broadcast_tensors(x1, x2)
            except RuntimeError as error:
                given = f"x1 is {describe(x1)}, x2 is {describe(x2)}"
                raise ValueError(f"{self}: {given}; their shapes do not broadcast") from error
        return self._of_pair(call, x1.to(dtype), x2.to(dtype))

    def _of_pair(self, call: Any, x1: Tensor, x2: Tensor) -> Tensor:
        raise NotImplementedError


class PairwiseDistance(_OfTwo):
    """y = |x1 - x2 + eps|_p over the last dimension.   x1, x2 (..., D): shapes that broadcast; y (...), or (..., 1).

    p: of the norm, kept as `norm`. keepdim: whether y keeps the last dimension.
    """

    autocast = "pairwise_distance"

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        super().__init__()
        self.norm, self.eps, self.keepdim = p, eps, keepdim

    def _of_pair(self, call: Any, x1: Tensor, x2: Tensor) -> Tensor:
        output = functional.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)
        call.save(x1, x2, output)
        return output

    def backward(self, call: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x1, x2, output = call.saved
        grad_x1 = functional.pairwise_distance_backward(grad, x1, x2, output, self.norm, self.eps, self.keepdim)
        gradients = grad_x1 if call.wants(0) else None, -grad_x1 if call.wants(1) else None
        return restored(gradients, call.forms)


class CosineSimilarity(_OfTwo):
    """y = x1 . x2 / (max(|x1|, eps) max(|x2|, eps)) along `dim`.   x1, x2: shapes that broadcast; y without `dim`.

    eps keeps a vector of zeros from dividing by 0; it has no part in the gradient of a norm that is less.
    """

    autocast = "cosine_similarity"

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        super().__init__()
        self.dim, self.eps = dim, eps

    def _of_pair(self, call: Any, x1: Tensor, x2: Tensor) -> Tensor:
        if not -max(x1.dim(), 1) <= self.dim < max(x1.dim(), 1):
            raise IndexError(f"{self}: dim={self.dim}, and the inputs broadcast to {tuple(x1.shape)}")
        output, norm1, norm2 = functional.cosine_similarity(x1, x2, self.dim, self.eps)
        call.save(x1, x2, output, norm1, norm2)
        return output

    def backward(self, call: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x1, x2, output, norm1, norm2 = call.saved
        derivative = functional.cosine_similarity_backward
        gradients = (
            derivative(grad, x1, x2, output, norm1, norm2, self.dim, self.eps) if call.wants(0) else None,
            derivative(grad, x2, x1, output, norm2, norm1, self.dim, self.eps) if call.wants(1) else None,
        )
        return restored(gradients, call.forms)

"""Vectors brought to length 1, which PyTorch has as a function only."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from modgrad import functional
from modgrad.graph import Primitive


class Normalize(Primitive):
    """y = x / max(n, eps), with n the p-norm along dim."""

    autocast = "normalize"

    def forward(self, call: Any, input: Tensor, p: float, dim: Any, eps: float) -> Tensor:
        output, norm = functional.normalize(input, p, dim, eps)
        call.how = p, dim, eps
        call.save(input, norm)
        return output

    def backward(self, call: Any, grad: Tensor) -> Tensor:
        return functional.normalize_backward(grad, *call.saved, *call.how)


_NORMALIZE = Normalize()


def normalize(input: Any, p: float = 2.0, dim: int | tuple[int, ...] = 1, eps: float = 1e-12) -> Any:
    """y = x / max(n, eps), with n = (sum |x_i|^p)^(1/p) along `dim`, on Variables and plain tensors.

    >>> import torch
    >>> from modgrad.nn.operators.normalization import normalize
    >>> normalize(torch.tensor([[3.0, 4.0]]))
    tensor([[0.6000, 0.8000]])
    """
    return _NORMALIZE(input, p, tuple(dim) if isinstance(dim, (list, tuple)) else dim, eps)

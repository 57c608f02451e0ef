"""What losses share: how their terms, one for each value or each sample, become one number; and the way back."""

from __future__ import annotations

from torch import Tensor

__all__ = ["REDUCTIONS", "grad_of_terms", "reduced"]

REDUCTIONS = {"none": 0, "mean": 1, "sum": 2}  # name -> ATen's code

# 1e-12 as float32 has it, which is what PyTorch's losses take for it in every dtype.
EPSILON = 9.999999960041972e-13


def reduced(terms: Tensor, reduction: str) -> Tensor:
    """All terms ("none"), their mean, their sum, or their sum by the size of the first dimension ("batchmean")."""
    if reduction == "mean":
        return terms.mean()
    if reduction == "none":
        return terms
    total = terms.sum()
    return total / terms.shape[0] if reduction == "batchmean" and terms.dim() else total


def grad_of_terms(grad: Tensor, terms: Tensor, reduction: str) -> Tensor:
    """The upstream gradient as each term gets it: dL/dy by what the mean divides by.   terms: of their shape."""
    if reduction == "mean":
        return grad / terms.numel()
    return grad / terms.shape[0] if reduction == "batchmean" and terms.dim() else grad

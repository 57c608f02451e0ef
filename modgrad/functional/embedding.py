"""Looking rows up in a table, with the derivative."""

from __future__ import annotations

import torch
from torch import Tensor

from modgrad.functional.kernel import direct, kernel

__all__ = ["embedding", "embedding_backward", "embedding_backward_", "embedding_renormalized"]

_embedding = direct(torch.ops.aten.embedding.default)


@kernel(lambda input, weight: _embedding(weight, input))
def embedding(input: Tensor, weight: Tensor) -> Tensor:
    """y = the rows of W that `input` numbers.   input (...) int32 or int64, weight (V, D), y (..., D).

    Raises IndexError for a number that is not from 0 to V - 1.   Bengio et al. 2003, section 2.
    """
    return weight.index_select(0, input.reshape(-1)).reshape(*input.shape, weight.shape[1])


@kernel(torch.ops.aten.embedding_dense_backward.default)
def embedding_backward(
    grad: Tensor, input: Tensor, num_embeddings: int, padding_idx: int = -1, scale_grad_by_freq: bool = False
) -> Tensor:
    """dL/dW_v = sum of dL/dy over the places where input is v.   grad (..., D), input (...); returns (V, D).

    padding_idx: a row that gets nothing; -1 for none.
    scale_grad_by_freq: the mean over those places in place of the sum.
    """
    weight_gradient = grad.new_zeros(num_embeddings, grad.shape[-1])
    return weight_gradient.index_add(0, *_by_row(grad, input, num_embeddings, padding_idx, scale_grad_by_freq))


def embedding_backward_(
    sum: Tensor, grad: Tensor, input: Tensor, padding_idx: int = -1, scale_grad_by_freq: bool = False
) -> Tensor:
    """`embedding_backward`, added to `sum` (V, D) without another tensor of its size."""
    return sum.index_add_(0, *_by_row(grad, input, sum.shape[0], padding_idx, scale_grad_by_freq))


def _by_row(
    grad: Tensor, input: Tensor, num_embeddings: int, padding_idx: int, scale_grad_by_freq: bool
) -> tuple[Tensor, Tensor]:
    """Numbers of rows (N), and what each gets (N, D)."""
    rows = input.reshape(-1)
    grad = grad.reshape(rows.shape[0], grad.shape[-1])
    if scale_grad_by_freq:
        count = grad.new_zeros(num_embeddings).index_add(0, rows, grad.new_ones(rows.shape[0]))
        grad = grad / count[rows].unsqueeze(1)
    if padding_idx >= 0:
        grad = torch.where((rows == padding_idx).unsqueeze(1), 0, grad)
    return rows, grad


def embedding_renormalized(rows: Tensor, max_norm: float, norm_type: float = 2.0) -> Tensor:
    """Rows whose norm is larger than max_norm, scaled to it; the others as they are.   rows (N, D).

    No derivative: the table is brought to this form before rows are looked up in it.
    """
    norm = torch.linalg.vector_norm(rows, norm_type, dim=1, keepdim=True)
    return torch.where(norm > max_norm, rows * (max_norm / (norm + 1e-7)), rows)

"""Looking rows up in a table, with the derivative."""

from __future__ import annotations

import torch
from torch import Tensor

from modgrad.functional.kernel import direct, kernel

__all__ = [
    "embedding",
    "embedding_backward",
    "embedding_backward_",
    "embedding_bag",
    "embedding_bag_grad_per_sample_weights",
    "embedding_bag_grad_weight",
    "embedding_renormalized",
]

_embedding = direct(torch.ops.aten.embedding.default)
_bag = direct(torch.ops.aten._embedding_bag.default)
_bag_backward = direct(torch.ops.aten._embedding_bag_dense_backward.default)
_MODES = {"sum": 0, "mean": 1, "max": 2}  # ATen's numbers


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


def _bags(input: Tensor, edges: Tensor) -> Tensor:
    """The bag that each place of the input belongs to: (n).   input (n), edges (B + 1)."""
    places = torch.arange(input.shape[0], device=input.device, dtype=edges.dtype)
    return torch.bucketize(places, edges[1:].contiguous(), right=True)


def _counts(input: Tensor, bags: Tensor, edges: Tensor, padding_idx: int) -> Tensor:
    """How many places each bag has, padding left out: (B)."""
    counts = torch.zeros(edges.shape[0] - 1, device=input.device, dtype=torch.int64)
    return counts.index_add(0, bags, (input != padding_idx).long())


def _bag_kernel(
    input: Tensor,
    edges: Tensor,
    weight: Tensor,
    per_sample_weights: Tensor | None = None,
    mode: str = "mean",
    padding_idx: int = -1,
) -> tuple[Tensor, Tensor | None]:
    if type(input) is not Tensor:  # while traced: compilers know the formula's operations
        return NotImplemented
    scales = None if per_sample_weights is None else per_sample_weights.contiguous()
    rest = False, _MODES[mode], False, scales, True, padding_idx  # the kernel reads memory without gaps, unasked
    output, _, _, largest = _bag(weight.contiguous(), input.contiguous(), edges.contiguous(), *rest)
    return output, largest if mode == "max" else None


@kernel(_bag_kernel)
def embedding_bag(
    input: Tensor,
    edges: Tensor,
    weight: Tensor,
    per_sample_weights: Tensor | None = None,
    mode: str = "mean",
    padding_idx: int = -1,
) -> tuple[Tensor, Tensor | None]:
    """y_b = the sum, the mean or the maximum of the rows W_v over the numbers v in bag b; 0 for an empty bag.

    input (n): the numbers of all bags, one bag after another; edges (B + 1): bag b goes from edges_b to edges_b+1;
    edges_0 is 0, edges_B is n; int32 or int64. weight (V, D). per_sample_weights (n), with mode "sum": y_b is then the
    sum of s_i W_v_i.
    padding_idx: a number that is passed over; -1 for none.
    Returns y (B, D), and with mode "max" the number of the row that each value came from (B, D), the first of equals.
    """
    bags, count = _bags(input, edges), edges.shape[0] - 1
    rows, taken = weight.index_select(0, input), (input != padding_idx).unsqueeze(1)
    empty = (_counts(input, bags, edges, padding_idx) == 0).unsqueeze(1)
    if mode == "max":
        return _largest(input, bags, torch.where(taken, rows, -torch.inf), count, empty)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.unsqueeze(1)
    total = weight.new_zeros(count, weight.shape[1]).index_add(0, bags, torch.where(taken, rows, 0))
    if mode == "mean":
        total = total / _counts(input, bags, edges, padding_idx).clamp(min=1).unsqueeze(1)
    return total, None


def _largest(input: Tensor, bags: Tensor, rows: Tensor, count: int, empty: Tensor) -> tuple[Tensor, Tensor]:
    """The maximum over the rows of each bag, and the number of the row where it is first."""
    size, width = rows.shape
    if size == 0:
        return rows.new_zeros(count, width), input.new_zeros(count, width)
    index = bags.unsqueeze(1).expand(size, width)
    values = rows.new_full((count, width), -torch.inf).scatter_reduce(0, index, rows, "amax")
    places = torch.arange(size, device=input.device).unsqueeze(1)
    places = torch.where(rows == values.index_select(0, bags), places, size - 1)
    first = torch.full((count, width), size - 1, device=input.device).scatter_reduce(0, index, places, "amin")
    numbers = input.index_select(0, first.reshape(-1)).reshape(count, width)
    return torch.where(empty, 0, values), torch.where(empty, 0, numbers)


def _bag_grad_weight_kernel(
    grad: Tensor,
    input: Tensor,
    edges: Tensor,
    num_embeddings: int,
    per_sample_weights: Tensor | None = None,
    largest: Tensor | None = None,
    mode: str = "mean",
    padding_idx: int = -1,
    scale_grad_by_freq: bool = False,
) -> Tensor:
    # Frequencies are left to the formula: on the CPU this kernel looks them up for the wrong numbers (PyTorch 2.13).
    if type(input) is not Tensor or scale_grad_by_freq:
        return NotImplemented
    bags = _bags(input, edges)
    counts = _counts(input, bags, edges, padding_idx).to(input.dtype)
    largest = input.new_zeros(0) if largest is None else largest
    scales = None if per_sample_weights is None else per_sample_weights.contiguous()
    options = num_embeddings, False, _MODES[mode], scales, padding_idx
    return _bag_backward(grad.contiguous(), input.contiguous(), bags.to(input.dtype), counts, largest, *options)


@kernel(_bag_grad_weight_kernel)
def embedding_bag_grad_weight(
    grad: Tensor,
    input: Tensor,
    edges: Tensor,
    num_embeddings: int,
    per_sample_weights: Tensor | None = None,
    largest: Tensor | None = None,
    mode: str = "mean",
    padding_idx: int = -1,
    scale_grad_by_freq: bool = False,
) -> Tensor:
    """dL/dW_v = the sum over the places i where the input is v, and b is the bag of i, of

    "sum": dL/dy_b, or s_i dL/dy_b;   "mean": dL/dy_b over the size of b;   "max": dL/dy_b where W_v is the largest.

    grad (B, D), largest (B, D) as `embedding_bag` gave it; returns (num_embeddings, D).
    scale_grad_by_freq: the mean over those places in place of the sum.
    """
    bags = _bags(input, edges)
    counts = _counts(input, bags, edges, padding_idx).unsqueeze(1)
    if mode == "max":
        assert largest is not None
        given = torch.where(counts == 0, 0, grad)
        return grad.new_zeros(num_embeddings, grad.shape[1]).scatter_add(0, largest.long(), given)
    if mode == "mean":
        grad = grad / counts.clamp(min=1)
    rows = grad.index_select(0, bags)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.unsqueeze(1)
    return embedding_backward(rows, input, num_embeddings, padding_idx, scale_grad_by_freq)


def embedding_bag_grad_per_sample_weights(
    grad: Tensor, input: Tensor, edges: Tensor, weight: Tensor, padding_idx: int = -1
) -> Tensor:
    """dL/ds_i = dL/dy_b . W_v for the number v at place i of bag b, 0 for padding.   grad (B, D); returns (n)."""
    rows = grad.index_select(0, _bags(input, edges))
    products = torch.matmul(rows.unsqueeze(1), weight.index_select(0, input).unsqueeze(2)).flatten()
    return torch.where(input == padding_idx, 0, products)

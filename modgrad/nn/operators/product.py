"""Products of Variables as matrices and vectors, and what is made of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from modgrad import functional
from modgrad.graph import Primitive
from modgrad.graph.dispatch import operator
from modgrad.nn.operators.base import Formula, dim_of

_T: Any = Tensor
_MATRIX, _BATCH = 2, 3  # how many dimensions they have


class MatMul(Primitive):
    """Matrix product of the last two dimensions; vectors and broadcast leading dimensions as in torch.matmul."""

    autocast = "matmul"

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


class Cross(Formula, function=functional.cross):
    """The vector product in three dimensions."""


class Cdist(Formula, function=functional.cdist):
    """Distances between the vectors of two sets."""


_MATMUL, _CROSS, _CDIST = MatMul(), Cross(), Cdist()
_MATVEC, _DOT = MatMul(), MatMul()
_MATVEC.autocast, _DOT.autocast = "mv", "dot"


@operator(torch.matmul, _T.matmul, _T.__matmul__, torch.linalg.matmul)
def _matmul(input: Any, other: Any) -> Any:
    return _MATMUL(input, other)


@operator(_T.__rmatmul__)
def _rmatmul(input: Any, other: Any) -> Any:
    return _MATMUL(other, input)


def _check(name: str, input: Any, dims: int, other: Any, other_dims: int) -> None:
    if input.dim() != dims or other.dim() != other_dims:
        raise ValueError(
            f"{name}: expected tensors of {dims} and {other_dims} dimensions, got shapes {tuple(input.shape)} and "
            f"{tuple(other.shape)}; torch.matmul takes any"
        )


@operator(torch.mm, _T.mm)
def _mm(input: Any, mat2: Any) -> Any:
    _check("mm", input, _MATRIX, mat2, _MATRIX)
    return _MATMUL(input, mat2)


@operator(torch.bmm, _T.bmm)
def _bmm(input: Any, mat2: Any) -> Any:
    _check("bmm", input, _BATCH, mat2, _BATCH)
    if input.shape[0] != mat2.shape[0]:
        raise ValueError(f"bmm: a batch of {input.shape[0]} and one of {mat2.shape[0]}; torch.matmul broadcasts them")
    return _MATMUL(input, mat2)


@operator(torch.mv, _T.mv)
def _mv(input: Any, vec: Any) -> Any:
    _check("mv", input, _MATRIX, vec, 1)
    return _MATVEC(input, vec)


@operator(torch.dot, _T.dot, torch.vdot, _T.vdot)
def _dot(input: Any, tensor: Any = None, *, other: Any = None) -> Any:
    other = tensor if other is None else other
    _check("dot", input, 1, other, 1)
    return _DOT(input, other)


def _mixed(input: Any, product: Any, beta: float, alpha: float) -> Any:
    """beta * input + alpha * product. beta = 0 leaves the input out, whatever its values."""
    product = product if alpha == 1 else product * alpha
    if beta == 0:
        return product.expand(torch.broadcast_shapes(input.shape, product.shape))
    mixed = (input if beta == 1 else input * beta) + product
    if mixed.shape != product.shape:
        raise ValueError(f"an input of shape {tuple(input.shape)} does not broadcast to {tuple(product.shape)}")
    return mixed


@operator(torch.addmm, _T.addmm)
def _addmm(input: Any, mat1: Any, mat2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    return _mixed(input, _mm(mat1, mat2), beta, alpha)


@operator(torch.addmv, _T.addmv)
def _addmv(input: Any, mat: Any, vec: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    return _mixed(input, _mv(mat, vec), beta, alpha)


@operator(torch.addr, _T.addr)
def _addr(input: Any, vec1: Any, vec2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    return _mixed(input, _outer(vec1, vec2), beta, alpha)


@operator(torch.baddbmm, _T.baddbmm)
def _baddbmm(input: Any, batch1: Any, batch2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    return _mixed(input, _bmm(batch1, batch2), beta, alpha)


@operator(torch.addbmm, _T.addbmm)
def _addbmm(input: Any, batch1: Any, batch2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    _check("addbmm", batch1, _BATCH, batch2, _BATCH)
    (count, rows, inner), columns = batch1.shape, batch2.shape[2]
    left = batch1.transpose(0, 1).reshape(rows, count * inner)  # the batch is summed over with the inner dimension
    return _mixed(input, _MATMUL(left, batch2.reshape(count * inner, columns)), beta, alpha)


@operator(torch.outer, torch.ger, _T.outer, _T.ger)
def _outer(input: Any, vec2: Any) -> Any:
    _check("outer", input, 1, vec2, 1)
    return input.unsqueeze(1) * vec2.unsqueeze(0)


@operator(torch.inner, _T.inner)
def _inner(input: Any, other: Any) -> Any:
    if not input.dim() or not other.dim():
        return input * other
    return _tensordot(input, other, [[input.dim() - 1], [other.dim() - 1]])


@operator(torch.linalg.vecdot)
def _vecdot(x: Any, y: Any, *, dim: int = -1) -> Any:
    return (x * y).sum(dim)


@operator(torch.kron, _T.kron)
def _kron(input: Any, other: Any) -> Any:
    count = max(input.dim(), other.dim())
    a, b = ((1,) * (count - x.dim()) + tuple(x.shape) for x in (input, other))
    left = input.reshape([s for size in a for s in (size, 1)])
    right = other.reshape([s for size in b for s in (1, size)])
    return (left * right).reshape([m * n for m, n in zip(a, b, strict=True)])


@operator(torch.tensordot)
def _tensordot(a: Any, b: Any, dims: Any = 2) -> Any:
    if isinstance(dims, Tensor):
        dims = dims.tolist()
    if isinstance(dims, int):
        if dims < 0 or dims > min(a.dim(), b.dim()):
            raise ValueError(f"tensordot(dims={dims}) of shapes {tuple(a.shape)} and {tuple(b.shape)}")
        dims = range(a.dim() - dims, a.dim()), range(dims)
    over_a, over_b = ([dim_of(x, d) for d in given] for x, given in zip((a, b), dims, strict=True))
    for i, (d, e) in enumerate(zip(over_a, over_b, strict=True)):
        if a.shape[d] != b.shape[e]:
            if 1 not in (a.shape[d], b.shape[e]):
                raise ValueError(
                    f"tensordot: dimension {d} of {tuple(a.shape)} and dimension {e} of {tuple(b.shape)} differ"
                )
            a, b = (a.sum(d, keepdim=True), b) if b.shape[over_b[i]] == 1 else (a, b.sum(e, keepdim=True))
    rest_a, rest_b = ([d for d in range(x.dim()) if d not in over] for x, over in ((a, over_a), (b, over_b)))
    kept = [a.shape[d] for d in rest_a] + [b.shape[d] for d in rest_b]
    inner = math.prod(a.shape[d] for d in over_a)
    rows, columns = math.prod(a.shape[d] for d in rest_a), math.prod(b.shape[d] for d in rest_b)
    left = a.permute(*rest_a, *over_a).reshape(rows, inner)
    return _MATMUL(left, b.permute(*over_b, *rest_b).reshape(inner, columns)).reshape(kept)


@operator(torch.chain_matmul)
def _chain_matmul(*matrices: Any) -> Any:
    return _multi_dot(matrices)


@operator(torch.linalg.multi_dot)
def _multi_dot(tensors: Sequence[Any]) -> Any:
    """The product of all, in the order of the fewest multiplications; the first and the last may be vectors."""
    if len(tensors) == 1:
        return tensors[0]
    row, column = tensors[0].dim() == 1, tensors[-1].dim() == 1
    matrices = list(tensors)
    matrices[0] = matrices[0].unsqueeze(0) if row else matrices[0]
    matrices[-1] = matrices[-1].unsqueeze(1) if column else matrices[-1]
    for left, right in pairwise(matrices):
        _check("multi_dot", left, _MATRIX, right, _MATRIX)
    sizes = [m.shape[0] for m in matrices] + [matrices[-1].shape[1]]
    product = _in_order(matrices, _cheapest(sizes), 0, len(matrices) - 1)
    return product.reshape([s for s, gone in zip(product.shape, (row, column), strict=True) if not gone])


def _cheapest(sizes: Sequence[int]) -> dict[tuple[int, int], int]:
    """For the product of matrices i to j, after which of them to part it (Cormen et al., 15.2)."""
    count = len(sizes) - 1
    cost: dict[tuple[int, int], int] = {(i, i): 0 for i in range(count)}
    parted: dict[tuple[int, int], int] = {}
    for length in range(1, count):
        for i in range(count - length):
            j = i + length
            at = {k: cost[i, k] + cost[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1] for k in range(i, j)}
            parted[i, j] = min(at, key=lambda k: at[k])
            cost[i, j] = at[parted[i, j]]
    return parted


def _in_order(matrices: Sequence[Any], parted: dict[tuple[int, int], int], i: int, j: int) -> Any:
    if i == j:
        return matrices[i]
    k = parted[i, j]
    return _MATMUL(_in_order(matrices, parted, i, k), _in_order(matrices, parted, k + 1, j))


@operator(torch.linalg.cross)
def _linalg_cross(input: Any, other: Any, *, dim: int = -1) -> Any:
    if input.dim() != other.dim():
        raise ValueError(f"linalg.cross of {input.dim()} and {other.dim()} dimensions: they must have as many")
    return _CROSS(input, other, dim_of(input, dim))


@operator(torch.cross, _T.cross)
def _cross(input: Any, other: Any, dim: int | None = None) -> Any:
    if dim is None:
        threes = [d for d, size in enumerate(input.shape) if size == 3]
        if not threes:
            raise ValueError(f"cross of shape {tuple(input.shape)}: no dimension has 3 values")
        dim = threes[0]
    return _CROSS(input, other, dim_of(input, dim))


_COMPUTE_MODES = {"use_mm_for_euclid_dist_if_necessary": None, "use_mm_for_euclid_dist": 1}
_COMPUTE_MODES["donot_use_mm_for_euclid_dist"] = 2


@operator(torch.cdist)
def _cdist(x1: Any, x2: Any, p: float = 2.0, compute_mode: str = "use_mm_for_euclid_dist_if_necessary") -> Any:
    if compute_mode not in _COMPUTE_MODES:
        raise ValueError(f"cdist(compute_mode={compute_mode!r}): expected one of {', '.join(_COMPUTE_MODES)}")
    return _CDIST(x1, x2, float(p), _COMPUTE_MODES[compute_mode])


@operator(torch.pdist)
def _pdist(input: Any, p: float = 2.0) -> Any:
    rows, columns = torch.triu_indices(input.shape[0], input.shape[0], 1, device=input.device)
    return _cdist(input, input, p, "donot_use_mm_for_euclid_dist")[rows, columns]

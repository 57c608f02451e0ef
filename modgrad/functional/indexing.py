"""Functions that take values by index, and that put them, each beside its derivatives."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from modgrad.functional.kernel import kernel

aten = torch.ops.aten

__all__ = [
    "added_at",
    "diagonal_scatter",
    "diagonal_scatter_grad_input",
    "diagonal_scatter_grad_src",
    "gather",
    "gather_backward",
    "index_add",
    "index_add_grad_input",
    "index_add_grad_source",
    "index_copy",
    "index_copy_grad_input",
    "index_copy_grad_source",
    "index_fill",
    "index_fill_grad_input",
    "index_fill_grad_value",
    "index_put",
    "index_put_grad_input",
    "index_put_grad_values",
    "index_select",
    "index_select_backward",
    "scatter",
    "scatter_add",
    "scatter_add_grad_input",
    "scatter_add_grad_src",
    "scatter_grad_input",
    "scatter_grad_src",
    "select",
    "select_backward",
    "select_scatter",
    "select_scatter_grad_input",
    "select_scatter_grad_src",
    "slice_scatter",
    "slice_scatter_grad_input",
    "slice_scatter_grad_src",
    "take",
    "take_backward",
]

Number = Tensor | float


def select(input: Tensor, index: Any) -> Tensor:
    """y = x[index], for any index that a tensor takes: integers, slices, None, Ellipsis, masks, index tensors."""
    return input[index]


def _select_backward_kernel(grad: Tensor, input_shape: torch.Size, index: Any) -> Tensor:
    parts = index if isinstance(index, tuple) else (index,)
    tensors = [part for part in parts if isinstance(part, (Tensor, list, tuple))]
    if not all(isinstance(part, Tensor) and part.dtype == torch.bool for part in tensors):  # may take a place twice
        *slices, last = parts
        if isinstance(last, Tensor) and last.dtype == torch.int64 and all(part == slice(None) for part in slices):
            return _rows_backward(grad, input_shape, last, len(slices))
        if all(isinstance(part, Tensor) or part == slice(None) for part in parts):
            places = [part if isinstance(part, Tensor) else None for part in parts]
            return aten.index_put_.default(grad.new_zeros(input_shape), places, grad, True)
        return NotImplemented
    grad_input = grad.new_zeros(input_shape)
    grad_input[index] = grad
    return grad_input


def _rows_backward(grad: Tensor, input_shape: torch.Size, index: Tensor, dim: int) -> Tensor:
    """The gradient of x of which whole rows were taken, rows of `dim`."""
    rows = torch.remainder(index, max(input_shape[dim], 1)).reshape(-1)  # -1 is the last
    grad = grad.reshape(*input_shape[:dim], rows.shape[0], *input_shape[dim + 1 :])
    return grad.new_zeros(input_shape).index_add(dim, rows, grad)


@kernel(_select_backward_kernel)
def select_backward(grad: Tensor, input_shape: torch.Size, index: Any) -> Tensor:
    """dL/dx: zero, plus dL/dy at the places that index took, as often as it took them.

    grad: the output's shape; returns `input_shape`.
    """
    places = torch.arange(input_shape.numel(), device=grad.device).reshape(input_shape)[index]
    return added_at(grad, input_shape, places)


def added_at(grad: Tensor, shape: torch.Size, places: Tensor) -> Tensor:
    """Zeros of `shape`, plus each value of `grad` at its place, as counted in memory.   places: grad's shape."""
    flat = grad.new_zeros(shape.numel()).index_add(0, places.reshape(-1), grad.reshape(-1))
    return flat.reshape(shape)


def gather(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """y[i, j, k] = x[index[i, j, k], j, k] for dim 0, and so on.   index: x's dimensions, none of them longer."""
    return torch.gather(input, dim, index)


def gather_backward(grad: Tensor, input_shape: torch.Size, dim: int, index: Tensor) -> Tensor:
    """dL/dx = the sum of dL/dy over the places that took x."""
    return grad.new_zeros(input_shape).scatter_add(dim, index, grad)


def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """The slices of x along `dim` that `index` (n) or () names."""
    return torch.index_select(input, dim, index)


def index_select_backward(grad: Tensor, input_shape: torch.Size, dim: int, index: Tensor) -> Tensor:
    """dL/dx = the sum of dL/dy over the slices that are it."""
    return grad.new_zeros(input_shape).index_add(dim, index, grad)


def take(input: Tensor, index: Tensor) -> Tensor:
    """y[i] = x[index[i]], x's values counted as they lie in memory, and from the end by negative numbers."""
    return torch.take(input, index)


def take_backward(grad: Tensor, input_shape: torch.Size, index: Tensor) -> Tensor:
    """dL/dx = the sum of dL/dy over the places that took x."""
    flat = grad.new_zeros(input_shape.numel())
    return aten.index_put.default(flat, [index], grad, True).reshape(input_shape)


def scatter(input: Tensor, dim: int, index: Tensor, src: Number) -> Tensor:
    """y = x, but for y[index[i, j, k], j, k] = src[i, j, k] for dim 0, and so on.   src: index's shape, or a number."""
    return torch.scatter(input, dim, index, src)


def scatter_grad_input(grad: Tensor, dim: int, index: Tensor) -> Tensor:
    """dL/dx = dL/dy where x stayed, 0 where it was written over."""
    return torch.scatter(grad, dim, index, 0)


def scatter_grad_src(grad: Tensor, dim: int, index: Tensor) -> Tensor:
    """dL/dsrc = dL/dy where it was written. Where several were written to one place, all get it."""
    return torch.gather(grad, dim, index)


def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """y = x, plus src[i, j, k] at y[index[i, j, k], j, k] for dim 0, and so on.   src: index's shape."""
    return torch.scatter_add(input, dim, index, src)


def scatter_add_grad_input(grad: Tensor) -> Tensor:
    """dL/dx = dL/dy."""
    return grad


def scatter_add_grad_src(grad: Tensor, dim: int, index: Tensor) -> Tensor:
    """dL/dsrc = dL/dy where it was added."""
    return torch.gather(grad, dim, index)


def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, alpha: float) -> Tensor:
    """y = x, plus alpha times the i-th slice of source at slice index[i] of `dim`."""
    return torch.index_add(input, dim, index, source, alpha=alpha)


def index_add_grad_input(grad: Tensor) -> Tensor:
    """dL/dx = dL/dy."""
    return grad


def index_add_grad_source(grad: Tensor, dim: int, index: Tensor, alpha: float) -> Tensor:
    """dL/dsource = alpha times dL/dy of the slice that it was added to."""
    return torch.index_select(grad, dim, index) * alpha


def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """y = x, with the i-th slice of source as slice index[i] of `dim`."""
    return torch.index_copy(input, dim, index, source)


def index_copy_grad_input(grad: Tensor, dim: int, index: Tensor) -> Tensor:
    """dL/dx = dL/dy where x stayed, 0 where it was written over."""
    return torch.index_fill(grad, dim, index, 0)


def index_copy_grad_source(grad: Tensor, dim: int, index: Tensor) -> Tensor:
    """dL/dsource = dL/dy of the slice that it was written to."""
    return torch.index_select(grad, dim, index)


def index_fill(input: Tensor, dim: int, index: Tensor, value: Number) -> Tensor:
    """y = x, with `value` all over the slices of `dim` that `index` names."""
    return torch.index_fill(input, dim, index, value)


def index_fill_grad_input(grad: Tensor, dim: int, index: Tensor) -> Tensor:
    """dL/dx = dL/dy where x stayed, 0 where it was written over."""
    return torch.index_fill(grad, dim, index, 0)


def index_fill_grad_value(grad: Tensor, dim: int, index: Tensor) -> Tensor:
    """dL/dvalue = the sum of dL/dy where it was written."""
    written = torch.index_fill(torch.zeros_like(grad, dtype=torch.bool), dim, index, 1)
    return torch.where(written, grad, 0).sum()


def index_put(input: Tensor, index: tuple[Tensor | None, ...], values: Tensor, accumulate: bool) -> Tensor:
    """y = x, with y[index] = values, or y[index] += values if `accumulate`. None in the index is a whole dimension.

    values: broadcast to x[index].
    """
    return aten.index_put.default(input, index, values, accumulate)


def index_put_grad_input(grad: Tensor, index: tuple[Tensor | None, ...], accumulate: bool) -> Tensor:
    """dL/dx = dL/dy, but 0 where x was written over."""
    return grad if accumulate else aten.index_put.default(grad, index, grad.new_zeros(()))


def index_put_grad_values(grad: Tensor, index: tuple[Tensor | None, ...]) -> Tensor:
    """dL/dvalues = dL/dy[index], to be summed where values were broadcast."""
    return grad[tuple(slice(None) if part is None else part for part in index)]


def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """y = x, with src as slice `index` of `dim`."""
    return torch.select_scatter(input, src, dim, index)


def select_scatter_grad_input(grad: Tensor, dim: int, index: int) -> Tensor:
    """dL/dx = dL/dy where x stayed, 0 where it was written over."""
    return torch.select_scatter(grad, torch.zeros_like(grad.select(dim, index)), dim, index)


def select_scatter_grad_src(grad: Tensor, dim: int, index: int) -> Tensor:
    """dL/dsrc = that slice of dL/dy."""
    return grad.select(dim, index)


def slice_scatter(input: Tensor, src: Tensor, dim: int, start: int | None, end: int | None, step: int) -> Tensor:
    """y = x, with src as the slices start:end:step of `dim`."""
    return torch.slice_scatter(input, src, dim, start, end, step)


def slice_scatter_grad_input(grad: Tensor, dim: int, start: int | None, end: int | None, step: int) -> Tensor:
    """dL/dx = dL/dy where x stayed, 0 where it was written over."""
    zeros = torch.zeros_like(slice_scatter_grad_src(grad, dim, start, end, step))
    return torch.slice_scatter(grad, zeros, dim, start, end, step)


def slice_scatter_grad_src(grad: Tensor, dim: int, start: int | None, end: int | None, step: int) -> Tensor:
    """dL/dsrc = those slices of dL/dy."""
    return grad[(slice(None),) * dim + (slice(start, end, step),)]


def diagonal_scatter(input: Tensor, src: Tensor, offset: int, dim1: int, dim2: int) -> Tensor:
    """y = x, with src on the diagonal."""
    return torch.diagonal_scatter(input, src, offset, dim1, dim2)


def diagonal_scatter_grad_input(grad: Tensor, offset: int, dim1: int, dim2: int) -> Tensor:
    """dL/dx = dL/dy off the diagonal, 0 on it."""
    zeros = torch.zeros_like(grad.diagonal(offset, dim1, dim2))
    return torch.diagonal_scatter(grad, zeros, offset, dim1, dim2)


def diagonal_scatter_grad_src(grad: Tensor, offset: int, dim1: int, dim2: int) -> Tensor:
    """dL/dsrc = the diagonal of dL/dy."""
    return grad.diagonal(offset, dim1, dim2)

"""Padding: more elements at the ends of dimensions, each kind beside its derivative.

`padding` lists how many, from the last dimension backwards: (left, right, top, bottom, front, back). A negative number
takes elements away. Each border that is made of the input's own values sends its gradient back to where they came from:
the derivative folds the border back onto the inside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from modgrad.functional.kernel import kernel

__all__ = [
    "circular_pad",
    "circular_pad_backward",
    "constant_pad",
    "constant_pad_backward",
    "reflection_pad",
    "reflection_pad_backward",
    "replication_pad",
    "replication_pad_backward",
]

aten = torch.ops.aten
Padding = Sequence[int]


def constant_pad(input: Tensor, padding: Padding, value: float = 0.0) -> Tensor:
    """`value` at the ends.   input: any shape; padding: two numbers for each of its last dimensions."""
    return torch.constant_pad_nd(input, list(padding), value)


def constant_pad_backward(grad: Tensor, padding: Padding) -> Tensor:
    """dL/dx = the inside of dL/dy; 0 where x was taken away.   grad: the padded shape."""
    return constant_pad(grad, [-amount for amount in padding])


def _directions(input: Tensor, padding: Padding) -> Iterator[tuple[int, int, int]]:
    """(dimension, how many before it, how many after it), from the last dimension backwards."""
    for i in range(0, len(padding), 2):
        yield input.dim() - 1 - i // 2, padding[i], padding[i + 1]


def _split(padding: Padding) -> tuple[list[int], list[int]]:
    """(what is to be added, what is to be taken away)."""
    return [max(amount, 0) for amount in padding], [min(amount, 0) for amount in padding]


def _cropped(input: Tensor, taken: Padding) -> Tensor:
    return constant_pad(input, taken) if any(taken) else input


def _uncropped(grad: Tensor, taken: Padding) -> Tensor:
    return constant_pad_backward(grad, taken) if any(taken) else grad


def _bordered(input: Tensor, padding: Padding, borders: Callable[..., tuple[Tensor, Tensor]]) -> Tensor:
    """Borders added in one direction after another, in memory of its own.   borders: of (input, dim, before, after)."""
    if not any(padding):
        return input.clone()
    for dim, before, after in _directions(input, padding):
        if before or after:
            first, last = borders(input, dim, before, after)
            input = torch.cat([first, input, last], dim)
    return input


def _folded(grad: Tensor, padding: Padding, fold: Callable[..., tuple[Tensor, Tensor]]) -> Tensor:
    """The derivative of `_bordered`: each border's gradient added to the inside.

    fold: of (the gradient of the border before, of that after, dim, size of the inside): both as they were first,
    and spread over the whole inside.
    """
    if not any(padding):
        return grad.clone()
    for dim, before, after in reversed(list(_directions(grad, padding))):
        if before or after:
            size = grad.shape[dim] - before - after
            first, inside, last = torch.split(grad, [before, size, after], dim)
            first, last = fold(first, last, dim, size)
            grad = inside + last + first
    return grad


def _placed(piece: Tensor, dim: int, start: int, size: int) -> Tensor:
    """`piece` as a part of zeros, `size` along `dim`, from `start` on."""
    beyond = [0] * (2 * (piece.dim() - 1 - dim))
    return constant_pad(piece, [*beyond, start, size - start - piece.shape[dim]])


def _reflected(input: Tensor, dim: int, before: int, after: int) -> tuple[Tensor, Tensor]:
    size = input.shape[dim]
    return input.narrow(dim, 1, before).flip(dim), input.narrow(dim, size - 1 - after, after).flip(dim)


def _unreflected(first: Tensor, last: Tensor, dim: int, size: int) -> tuple[Tensor, Tensor]:
    start = size - 1 - last.shape[dim]
    return _placed(first.flip(dim), dim, 1, size), _placed(last.flip(dim), dim, start, size)


def _reflection_kernel(input: Tensor, padding: Padding) -> Tensor:
    return _REFLECTION[len(padding) // 2](input, padding)


def _reflection_backward_kernel(grad: Tensor, input_shape: torch.Size, padding: Padding) -> Tensor:
    return _REFLECTION_BACKWARD[len(padding) // 2](grad, grad.new_empty(()).expand(input_shape), padding)


_REFLECTION = {1: aten.reflection_pad1d, 2: aten.reflection_pad2d, 3: aten.reflection_pad3d}
_REFLECTION_BACKWARD = {
    1: aten.reflection_pad1d_backward,
    2: aten.reflection_pad2d_backward,
    3: aten.reflection_pad3d_backward,
}


@kernel(_reflection_kernel)
def reflection_pad(input: Tensor, padding: Padding) -> Tensor:
    """The input mirrored at its first and last elements, which are not repeated: c b | a b c | b a.

    input (N, C, ...) or (C, ...), with one to three dimensions to pad; each longer than what is added at either end.
    """
    added, taken = _split(padding)
    return _cropped(_bordered(input, added, _reflected), taken)


@kernel(_reflection_backward_kernel)
def reflection_pad_backward(grad: Tensor, input_shape: torch.Size, padding: Padding) -> Tensor:
    """dL/dx = the inside of dL/dy, plus each border mirrored back.   grad: the padded shape."""
    added, taken = _split(padding)
    return _folded(_uncropped(grad, taken), added, _unreflected)


def _replicated(input: Tensor, dim: int, before: int, after: int) -> tuple[Tensor, Tensor]:
    def repeated(place: int, times: int) -> Tensor:
        shape = list(input.shape)
        shape[dim] = times
        return input.narrow(dim, place, 1).expand(shape)

    return repeated(0, before), repeated(input.shape[dim] - 1, after)


def _unreplicated(first: Tensor, last: Tensor, dim: int, size: int) -> tuple[Tensor, Tensor]:
    first, last = first.sum(dim, keepdim=True), last.sum(dim, keepdim=True)
    return _placed(first, dim, 0, size), _placed(last, dim, size - 1, size)


def _replication_kernel(input: Tensor, padding: Padding) -> Tensor:
    return _REPLICATION[len(padding) // 2](input, padding)


def _replication_backward_kernel(grad: Tensor, input_shape: torch.Size, padding: Padding) -> Tensor:
    return _REPLICATION_BACKWARD[len(padding) // 2](grad, grad.new_empty(()).expand(input_shape), padding)


_REPLICATION = {1: aten.replication_pad1d, 2: aten.replication_pad2d, 3: aten.replication_pad3d}
_REPLICATION_BACKWARD = {
    1: aten.replication_pad1d_backward,
    2: aten.replication_pad2d_backward,
    3: aten.replication_pad3d_backward,
}


@kernel(_replication_kernel)
def replication_pad(input: Tensor, padding: Padding) -> Tensor:
    """The first and the last element repeated: a a | a b c | c c.

    input (N, C, ...) or (C, ...), with one to three dimensions to pad.
    """
    added, taken = _split(padding)
    return _cropped(_bordered(input, added, _replicated), taken)


@kernel(_replication_backward_kernel)
def replication_pad_backward(grad: Tensor, input_shape: torch.Size, padding: Padding) -> Tensor:
    """dL/dx = the inside of dL/dy, plus each border's sum at the end that it repeats.   grad: the padded shape."""
    added, taken = _split(padding)
    return _folded(_uncropped(grad, taken), added, _unreplicated)


def _wrapped(input: Tensor, dim: int, before: int, after: int) -> tuple[Tensor, Tensor]:
    return input.narrow(dim, input.shape[dim] - before, before), input.narrow(dim, 0, after)


def _unwrapped(first: Tensor, last: Tensor, dim: int, size: int) -> tuple[Tensor, Tensor]:
    return _placed(first, dim, size - first.shape[dim], size), _placed(last, dim, 0, size)


def circular_pad(input: Tensor, padding: Padding) -> Tensor:
    """As if the input went on from its start: b c | a b c | a b. What is taken away is taken first.

    input: any shape; padding: two numbers for each of its last dimensions, neither above what is left of it.
    """
    added, taken = _split(padding)
    return _bordered(_cropped(input, taken), added, _wrapped)


def circular_pad_backward(grad: Tensor, padding: Padding) -> Tensor:
    """dL/dx = the inside of dL/dy, plus each border at the other end, where it came from.   grad: the padded shape."""
    added, taken = _split(padding)
    return _uncropped(_folded(grad, added, _unwrapped), taken)

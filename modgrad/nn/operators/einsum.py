"""torch.einsum on Variables, made of diagonals, sums, products and matrix products.

The equation is read as PyTorch reads it. Two tensors at a time, from the left; of each pair a dimension that both have
and nobody else asks for is summed over by a matrix product.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from modgrad.graph.dispatch import operator

# A dimension's name: a letter, or the number of a dimension that an ellipsis stands for, counted from the last.
Label = str | int


@operator(torch.einsum)
def _einsum(equation: str, *operands: Any) -> Any:
    given = operands[0] if len(operands) == 1 and isinstance(operands[0], (list, tuple)) else operands
    inputs, output = _read(equation, given)
    tensors = [_without_repeats(x, labels) for x, labels in zip(given, inputs, strict=True)]
    _check_sizes(equation, tensors)
    tensors = [_without_ones(i, tensors) for i in range(len(tensors))]
    result, labels = tensors[0]
    for i in range(1, len(tensors)):
        later = {label for _, names in tensors[i + 1 :] for label in names} | set(output)
        result, labels = _contract((result, labels), tensors[i], later)
    result, labels = _summed(result, labels, set(output))
    missing = [label for label in output if label not in labels]  # those of size 1 everywhere
    result = result.reshape((*result.shape, *[1] * len(missing)))
    return _arranged(result, [*labels, *missing], output)


def _read(equation: str, operands: Any) -> tuple[list[list[Label]], list[Label]]:
    """The names of each operand's dimensions, and of the output's."""
    equation = equation.replace(" ", "")
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    if len(terms) != len(operands):
        raise ValueError(f"einsum({equation!r}): {len(terms)} terms for {len(operands)} tensors")
    inputs = [_labels(equation, term, x.dim()) for term, x in zip(terms, operands, strict=True)]
    rest = max((sum(type(label) is int for label in labels) for labels in inputs), default=0)
    if arrow:
        named = len(right.replace("...", ""))
        output = _labels(equation, right, named + rest if "..." in right else named)
        known = {label for labels in inputs for label in labels}
        if len(set(output)) < len(output) or set(output) - known - set(range(rest)):
            raise ValueError(f"einsum({equation!r}): each name in the output stands once, and in a term before it")
    else:
        letters = left.replace(",", "").replace(".", "")
        output = [*range(rest - 1, -1, -1), *sorted({name for name in letters if letters.count(name) == 1})]
    return inputs, output


def _labels(equation: str, term: str, dims: int) -> list[Label]:
    before, dots, after = term.partition("...")
    named = len(before) + len(after)
    if not (before + after).isalpha() and before + after:
        raise ValueError(f"einsum({equation!r}): {term!r} has something else than letters and one ellipsis")
    if named > dims or (named < dims and not dots):
        raise ValueError(f"einsum({equation!r}): {term!r} does not fit a tensor of {dims} dimensions")
    return [*before, *range(dims - named - 1, -1, -1), *after]


def _check_sizes(equation: str, tensors: list[tuple[Any, list[Label]]]) -> None:
    sizes: dict[Label, Any] = {}
    for x, labels in tensors:
        for label, size in zip(labels, x.shape, strict=True):
            if sizes.setdefault(label, size) != size and size != 1:
                if sizes[label] != 1:
                    raise ValueError(
                        f"einsum({equation!r}): {label!r} is {sizes[label]} in one tensor and {size} in another"
                    )
                sizes[label] = size


def _without_repeats(x: Any, labels: list[Label]) -> tuple[Any, list[Label]]:
    """A name that stands twice takes the diagonal."""
    labels = list(labels)
    for label in dict.fromkeys(labels):
        while labels.count(label) > 1:
            first = labels.index(label)
            second = labels.index(label, first + 1)
            x = x.diagonal(0, first, second)
            labels = [name for i, name in enumerate(labels) if i not in (first, second)] + [label]
    return x, labels


def _without_ones(i: int, tensors: list[tuple[Any, list[Label]]]) -> tuple[Any, list[Label]]:
    """A dimension of size 1 that another tensor has longer is left out: it broadcasts."""
    x, labels = tensors[i]
    longer = {
        label
        for other, names in tensors
        for label, size in zip(names, other.shape, strict=True)
        if label in labels and size != 1
    }
    kept = [d for d, label in enumerate(labels) if label not in longer or x.shape[d] != 1]
    if len(kept) < len(labels):
        x = x.reshape([x.shape[d] for d in kept])
    return x, [labels[d] for d in kept]


def _summed(x: Any, labels: list[Label], needed: set[Label]) -> tuple[Any, list[Label]]:
    gone = [d for d, label in enumerate(labels) if label not in needed]
    return (x.sum(gone), [label for label in labels if label in needed]) if gone else (x, labels)


def _arranged(x: Any, labels: list[Label], order: list[Label]) -> Any:
    return x if labels == order else x.permute([labels.index(label) for label in order])


def _contract(
    left: tuple[Any, list[Label]], right: tuple[Any, list[Label]], later: set[Label]
) -> tuple[Any, list[Label]]:
    """The product of two tensors, summed over what they have in common and `later` does not have."""
    (a, in_a), (b, in_b) = _summed(*left, later | set(right[1])), _summed(*right, later | set(left[1]))
    both = [label for label in in_a if label in in_b]
    batch, inner = [x for x in both if x in later], [x for x in both if x not in later]
    only_a, only_b = [x for x in in_a if x not in in_b], [x for x in in_b if x not in in_a]
    size = dict(zip(in_b, b.shape, strict=True)) | dict(zip(in_a, a.shape, strict=True))

    def shape(labels: list[Label]) -> list[Any]:
        return [size[label] for label in labels]

    labels = batch + only_a + only_b
    a, b = _arranged(a, in_a, batch + only_a + inner), _arranged(b, in_b, batch + inner + only_b)
    if not inner:
        return a.reshape(shape(batch + only_a) + [1] * len(only_b)) * b.reshape(
            shape(batch) + [1] * len(only_a) + shape(only_b)
        ), labels
    count = math.prod(shape(inner))
    a = a.reshape([*shape(batch), math.prod(shape(only_a)), count])
    b = b.reshape([*shape(batch), count, math.prod(shape(only_b))])
    return (a @ b).reshape(shape(labels)), labels

"""Many tensors at once: what the updates in place are written with.

`torch._foreach_*` takes whole lists. A factor is a Python number, or, on a GPU, a tensor of one number, so that nothing
has to wait for what the GPU has counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

_BLOCK = 2**18  # values of a tensor that each thread works on at a time; as measured, between 2**17 and 2**19
Factor = Any  # a float, or a tensor of one number
_READABLE = {"cpu"}  # devices on which a tensor's value can be asked for without waiting


def blocks(lists: list[list[Any]]) -> Iterator[list[list[Any]]]:
    """The lists in pieces, which stay in a processor's cache from one operation to the next.

    Large tensors are cut, small ones taken together. Each list has as many tensors as the first, of the same shapes.
    """
    if not lists[0] or lists[0][0].device.type != "cpu":
        yield lists
        return
    most = _BLOCK * torch.get_num_threads()
    pending: list[tuple[Any, ...]] = []
    size = 0
    for row in zip(*lists, strict=True):
        count = row[0].numel()
        if count > most and all(tensor.is_contiguous() for tensor in row):
            pieces = [tensor.view(-1).split(most) for tensor in row]
            yield from ([[piece] for piece in cut] for cut in zip(*pieces, strict=True))
            continue
        if pending and size + count > most:
            yield [list(column) for column in zip(*pending, strict=True)]
            pending, size = [], 0
        pending.append(row)
        size += count
    if pending:
        yield [list(column) for column in zip(*pending, strict=True)]


def number(x: Tensor) -> Factor:
    """The number that x holds, in double precision: as a float where that costs nothing."""
    return x.item() if x.device.type in _READABLE else x.double()


def where(condition: Any, x: Factor, y: Factor) -> Factor:
    """x if the condition holds, else y; all of them numbers, or tensors of one."""
    return torch.where(condition, x, y) if isinstance(condition, Tensor) else x if condition else y


def descent(params: list[Tensor], grads: list[Tensor], weight_decay: float = 0.0, maximize: bool = False) -> list[Any]:
    """grad + weight_decay param, with -grad to maximize. The gradients themselves stay as they are."""
    result: Any = torch._foreach_neg(grads) if maximize else grads
    return list(torch._foreach_add(result, params, alpha=weight_decay)) if weight_decay else list(result)


def scale_(to: list[Any], factor: Factor) -> None:
    """to *= factor"""
    torch._foreach_mul_(to, _fitting(factor, to))


def add_(to: list[Any], what: list[Any], factor: Factor) -> None:
    """to += factor what"""
    if isinstance(factor, Tensor):
        torch._foreach_add_(to, torch._foreach_mul(what, _fitting(factor, what)))
    else:
        torch._foreach_add_(to, what, alpha=factor)


def add_quotient_(to: list[Any], numerators: list[Any], denominators: list[Any], factor: Factor) -> None:
    """to += factor numerator / denominator"""
    if isinstance(factor, Tensor):
        quotients = torch._foreach_div(numerators, denominators)
        torch._foreach_mul_(quotients, _fitting(factor, to))
        torch._foreach_add_(to, quotients)
    else:
        torch._foreach_addcdiv_(to, numerators, denominators, value=factor)


def add_squares_(to: list[Any], what: list[Any], decay: float) -> None:
    """to = decay to + (1 - decay) what^2"""
    torch._foreach_mul_(to, decay)
    torch._foreach_addcmul_(to, what, what, value=1 - decay)


def root(what: list[Any], eps: float, over: Factor = 1.0) -> list[Any]:
    """sqrt(what) / over + eps"""
    result: Any = torch._foreach_sqrt(what)
    if isinstance(over, Tensor) or over != 1:
        torch._foreach_div_(result, _fitting(over, result))
    torch._foreach_add_(result, eps)
    return list(result)


def _fitting(factor: Factor, to: list[Any]) -> Factor:
    """A factor in the dtype that lists of it are multiplied in at once; narrow ones would lose its digits."""
    if isinstance(factor, Tensor) and to[0].dtype in (torch.float32, torch.float64):
        return factor.to(to[0].dtype)
    return factor

"""A module of PyTorch's and its twin, compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from modgrad import nn

N = torch.nn
TIGHT = {"rtol": 1e-9, "atol": 1e-10}


def image() -> Tensor:
    return torch.randn(2, 3, 16, 16, dtype=torch.float64)


def tokens() -> Tensor:
    return torch.randint(0, 7, (3, 5))


def row(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def outputs(y: Any) -> list[Any]:
    """Those that have gradients."""
    return [part for part in (y if isinstance(y, tuple) else (y,)) if part is not None and part.is_floating_point()]


def leaves(inputs: tuple[Tensor, ...], make: Callable[[Tensor], Any]) -> list[Any]:
    return [make(x.clone()) if x.is_floating_point() else x for x in inputs]


def assert_same_model(twin: Any, mine: Any, *inputs: Tensor) -> None:
    """Values, gradients of inputs and of parameters, buffers."""
    a, b = leaves(inputs, lambda x: x.requires_grad_()), leaves(inputs, nn.Variable)
    torch.manual_seed(1)
    y = outputs(twin(*a))
    torch.manual_seed(1)
    z = outputs(mine(*b))
    upstream = [torch.randn_like(part) for part in y]
    for parts in (y, z):
        total: Any = 0
        for part, grad in zip(parts, upstream, strict=True):
            total = (part * grad).sum() + total
        total.backward()
    for part, other in zip(y, z, strict=True):
        torch.testing.assert_close(other.detach(), part.detach(), **TIGHT)
    for x, other in zip(a, b, strict=True):
        if x.is_floating_point():
            found, right = (0 * x if grad is None else grad for grad in (other.grad_v, x.grad))
            torch.testing.assert_close(found, right, **TIGHT)
    ours, known = dict(mine.named_parameters()), dict(twin.named_parameters())
    assert list(ours) == list(known)
    for name, parameter in known.items():
        assert (ours[name].grad_v is None) == (parameter.grad is None), name
        if parameter.grad is not None:
            torch.testing.assert_close(ours[name].grad_v, parameter.grad, msg=lambda m, n=name: f"{n}: {m}", **TIGHT)
    for (name, buffer), (path, other) in zip(twin.named_buffers(), mine.named_buffers(), strict=True):
        assert name == path
        torch.testing.assert_close(other, buffer, **TIGHT)

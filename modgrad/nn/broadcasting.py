"""Inputs that are computed with in one shape and dtype, and their gradients, brought back to each one's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from modgrad import functional

Form = tuple[torch.Size, torch.dtype]


def form(x: Any) -> Form | None:
    """The shape and dtype of a tensor."""
    return (x.shape, x.dtype) if isinstance(x, Tensor) else None


def forms(inputs: Sequence[Any]) -> list[Form | None]:
    return [form(x) for x in inputs]


def fitted(grad: Tensor, form: Any) -> Tensor:
    """A gradient of the output's shape and dtype, brought to an input's."""
    shape, dtype = form
    if grad.dim() != len(shape) or grad.shape != shape:  # in this order: a free batch size is compared with no number
        grad = functional.sum_to_shape(grad, shape)
    return grad if grad.dtype == dtype else grad.to(dtype)


def restored(gradients: Sequence[Tensor | None], wanted: Sequence[Form | None]) -> tuple[Tensor | None, ...]:
    """Each gradient in the form of its input."""
    return tuple(
        grad if grad is None or form is None else fitted(grad, form)
        for grad, form in zip(gradients, wanted, strict=True)
    )

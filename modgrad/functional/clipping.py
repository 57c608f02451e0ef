"""Clipping of gradients.   Pascanu et al. 2013, algorithm 1.

`total_norm` and `clip_factor` are the formulas. The other functions are those of everyday use: they change gradients in
place, where their owner keeps them, in `.grad`. They stand here as both `optim` and `nn.utils` give them to others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = [
    "clip_factor",
    "clip_grad_norm_",
    "clip_grad_value_",
    "clip_grads_with_norm_",
    "get_total_norm",
    "total_norm",
]

_plainly = torch._C.DisableTorchFunctionSubclass


def total_norm(grads: Sequence[Tensor], norm_type: float = 2.0) -> Tensor:
    """||g||, the p-norm of all gradients taken as one vector.   Scalar, of their dtype; 0 where there are none."""
    if not grads:
        return torch.zeros(())
    return torch.linalg.vector_norm(
        torch.stack([torch.linalg.vector_norm(grad, norm_type) for grad in grads]), norm_type
    )


def clip_factor(norm: Tensor, max_norm: float) -> Tensor:
    """min(1, max_norm / (||g|| + 1e-6)): what each gradient is multiplied by."""
    return torch.clamp(max_norm / (norm + 1e-6), max=1.0)


def get_total_norm(
    tensors: Iterable[Tensor] | Tensor,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """`total_norm`, on the first tensor's device.   norm_type: p, from 0 up; inf is the largest absolute value.

    error_if_nonfinite: whether a norm that is infinite or NaN raises. foreach: False goes from tensor to tensor.
    """
    with _plainly():
        tensors = _several(tensors)
        if foreach is False or not tensors:
            norm = total_norm(tensors, float(norm_type))
        else:
            device = tensors[0].device
            norms = [norm.to(device) for norm in torch._foreach_norm(tensors, float(norm_type))]
            norm = torch.linalg.vector_norm(torch.stack(norms), float(norm_type))
        if error_if_nonfinite and not norm.isfinite():
            raise RuntimeError(
                f"the total norm of order {norm_type} of {len(tensors)} gradients is {norm.item()}, so they cannot be "
                "clipped. Write error_if_nonfinite=False to scale them by it all the same"
            )
    return norm


def clip_grads_with_norm_(
    parameters: Iterable[Any] | Any, max_norm: float, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """Multiply the gradients of `parameters` in place by `clip_factor(total_norm, max_norm)`."""
    with _plainly():
        grads = _gradients(parameters)
        if not grads:
            return
        factor = clip_factor(total_norm, float(max_norm))
        if foreach is False or any(grad.device != factor.device for grad in grads):
            for grad in grads:
                grad.mul_(factor.to(grad.device))
        else:
            torch._foreach_mul_(grads, factor)


def clip_grad_norm_(
    parameters: Iterable[Any] | Any,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale the gradients of `parameters` in place, all by one factor, to a total norm of at most max_norm.

    Returns the norm before. Parameters without a gradient are passed over. The other arguments: see `get_total_norm`.
    """
    with _plainly():
        parameters = _several(parameters)
        norm = get_total_norm(_gradients(parameters), norm_type, error_if_nonfinite, foreach)
    clip_grads_with_norm_(parameters, max_norm, norm, foreach)
    return norm


def clip_grad_value_(parameters: Iterable[Any] | Any, clip_value: float, foreach: bool | None = None) -> None:
    """Bring each value of the gradients of `parameters` in place into [-clip_value, clip_value]."""
    clip_value = float(clip_value)
    with _plainly():
        grads = _gradients(parameters)
        if foreach is False:
            for grad in grads:
                grad.clamp_(-clip_value, clip_value)
        elif grads:
            torch._foreach_clamp_min_(grads, -clip_value)
            torch._foreach_clamp_max_(grads, clip_value)


def _several(given: Any) -> list[Any]:
    return [given] if isinstance(given, Tensor) else list(given)


def _gradients(parameters: Any) -> list[Tensor]:
    return [parameter.grad for parameter in _several(parameters) if parameter.grad is not None]

"""Clipping of gradients, as `nn.utils` has it too."""

from modgrad.functional.clipping import (
    clip_factor,
    clip_grad_norm_,
    clip_grad_value_,
    clip_grads_with_norm_,
    get_total_norm,
    total_norm,
)

__all__ = [
    "clip_factor",
    "clip_grad_norm_",
    "clip_grad_value_",
    "clip_grads_with_norm_",
    "get_total_norm",
    "total_norm",
]

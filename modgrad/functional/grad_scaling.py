"""Scaling of a loss, for gradients that float16 could not hold otherwise.   Micikevicius et al. 2018, section 3.2."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from modgrad.functional.kernel import kernel

__all__ = ["next_scale", "unscale_"]


def unscale_(grads: Sequence[Tensor], inverse: Tensor, found: Tensor) -> None:
    """g := g / s in place, with inverse = 1 / s; found := 1 if any g is infinite or not a number.

    grads: of one device and dtype. inverse, found: float32 scalars there.
    """
    torch._amp_foreach_non_finite_check_and_unscale_(list(grads), found, inverse)


def _next_scale_kernel(
    scale: Tensor, tracker: Tensor, found: Tensor, growth_factor: float, backoff_factor: float, growth_interval: int
) -> tuple[Tensor, Tensor]:
    scale, tracker = scale.clone(), tracker.clone()
    torch._amp_update_scale_(scale, tracker, found, growth_factor, backoff_factor, growth_interval)
    return scale, tracker


@kernel(_next_scale_kernel)
def next_scale(
    scale: Tensor, tracker: Tensor, found: Tensor, growth_factor: float, backoff_factor: float, growth_interval: int
) -> tuple[Tensor, Tensor]:
    """The scale s after a step: s * backoff_factor if something was `found`; s * growth_factor, unless infinite, after
    growth_interval steps in a row with nothing found; else s. And how many there have been in a row since.

    scale, found: float32 scalars; tracker: an int32 scalar.
    """
    clean = tracker + 1
    due = clean == growth_interval
    grown = torch.where(due & torch.isfinite(scale * growth_factor), scale * growth_factor, scale)
    after_clean = torch.where(due, torch.zeros_like(tracker), clean)
    bad = found != 0
    return torch.where(bad, scale * backoff_factor, grown), torch.where(bad, torch.zeros_like(tracker), after_clean)

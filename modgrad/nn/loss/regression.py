"""Losses of the difference between input and target, which must have the same shape."""

from __future__ import annotations

from typing import ClassVar

from modgrad import functional
from modgrad.nn.loss.termwise import TermwiseLoss, exchanged

__all__ = ["HuberLoss", "L1Loss", "MSELoss", "SmoothL1Loss"]


class L1Loss(TermwiseLoss):
    """L = mean of |x - t|.   input, target: the same shape."""

    autocast = "l1_loss"
    function = staticmethod(functional.l1_loss)
    derivatives: ClassVar = {"input": functional.l1_loss_backward, "target": exchanged(functional.l1_loss_backward)}


class MSELoss(TermwiseLoss):
    """L = mean of (x - t)^2.   input, target: the same shape."""

    autocast = "mse_loss"
    function = staticmethod(functional.mse_loss)
    derivatives: ClassVar = {"input": functional.mse_loss_backward, "target": exchanged(functional.mse_loss_backward)}


class SmoothL1Loss(TermwiseLoss):
    """L = mean of d^2 / (2 beta) where |d| < beta, of |d| - beta / 2 elsewhere; d = x - t.   beta = 0: the L1 loss."""

    autocast = "smooth_l1_loss"
    function = staticmethod(functional.smooth_l1_loss)
    derivatives: ClassVar = {
        "input": functional.smooth_l1_loss_backward,
        "target": exchanged(functional.smooth_l1_loss_backward),
    }

    def __init__(
        self, size_average: None = None, reduce: None = None, reduction: str = "mean", beta: float = 1.0
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        if beta < 0:
            raise ValueError(f"SmoothL1Loss(beta={beta}): expected a number from 0 on")
        self.beta = beta


class HuberLoss(TermwiseLoss):
    """L = mean of d^2 / 2 where |d| < delta, of delta (|d| - delta / 2) elsewhere; d = x - t."""

    autocast = "huber_loss"
    function = staticmethod(functional.huber_loss)
    derivatives: ClassVar = {
        "input": functional.huber_loss_backward,
        "target": exchanged(functional.huber_loss_backward),
    }

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction=reduction)
        if not isinstance(delta, (float, int)):
            raise TypeError(f"HuberLoss(delta={delta!r}): expected a number above 0")
        if delta <= 0:
            raise ValueError(f"HuberLoss(delta={delta}): expected a number above 0")
        self.delta = delta

"""Losses that are a negative log-likelihood, or a divergence, of a distribution."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import torch
from torch import Tensor

from modgrad import functional
from modgrad.graph.errors import describe
from modgrad.graph.mode import mode
from modgrad.nn.loss.termwise import TermwiseLoss, exchanged

__all__ = ["GaussianNLLLoss", "KLDivLoss", "PoissonNLLLoss"]


class PoissonNLLLoss(TermwiseLoss):
    """L = mean of rate - t log(rate), for counts t.   log_input, target: shapes that broadcast.

    log_input: whether log(rate) is what is given; if not, the rate itself is, and the logarithm is of rate + eps.
    full: add log(t!), by Stirling's formula, which does not depend on the input.
    """

    autocast = "poisson_nll_loss"
    function = staticmethod(functional.poisson_nll_loss)
    derivatives: ClassVar = {
        "input": functional.poisson_nll_loss_grad_input,
        "target": functional.poisson_nll_loss_grad_target,
    }
    alike = False

    def __init__(
        self,
        log_input: bool = True,
        full: bool = False,
        size_average: None = None,
        eps: float = 1e-8,
        reduce: None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.log_input, self.full, self.eps = log_input, full, eps

    def forward(self, call: Any, log_input: Tensor, target: Tensor) -> Tensor:  # the name that PyTorch gives the input
        return self._loss(call, log_input, target)


class GaussianNLLLoss(TermwiseLoss):
    """L = mean of (log v + (x - t)^2 / v) / 2, with v = max(var, eps).   input (..., D), target: shapes that broadcast.

    var: the variance, not negative: of input's shape; (...), or with one dimension of size 1, for a variance that
        several values share; or a number. eps bounds it from below without stopping its gradient.
    full: add the constant log(2 pi) / 2.
    """

    autocast = "gaussian_nll_loss"
    function = staticmethod(functional.gaussian_nll_loss)
    derivatives: ClassVar = {
        "input": functional.gaussian_nll_loss_grad_input,
        "target": exchanged(functional.gaussian_nll_loss_grad_input),
        "var": functional.gaussian_nll_loss_grad_var,
    }
    alike = False

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.full, self.eps = full, eps

    def forward(self, call: Any, input: Tensor, target: Tensor, var: Any) -> Tensor:  # type: ignore[override]
        if not mode.tracing and (var < 0 if not isinstance(var, Tensor) else bool((var < 0).any())):
            raise ValueError(f"{self}: var is {describe(var)}, with values below 0: a variance has none")
        if not isinstance(var, Tensor):
            return self._loss(call, input, target, input.new_full((), var))
        call.var_shape = var.shape
        return self._loss(call, input, target, self._placed(input, var))

    def backward(self, call: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        *others, grad_var = super().backward(call, grad)
        return *others, grad_var if grad_var is None else grad_var.reshape(call.var_shape)

    def _placed(self, input: Tensor, var: Tensor) -> Tensor:
        """var as it broadcasts to the input."""
        if var.shape == input.shape:
            return var
        if var.shape == input.shape[:-1]:
            return var.unsqueeze(-1)
        if var.dim() == input.dim():
            shared = [v for v, x in zip(var.shape, input.shape, strict=True) if v != x]
            if shared == [1]:
                return var
        raise ValueError(
            f"{self}: input is {describe(input)}, var is {describe(var)}; var must have the input's shape, or that "
            "without its last dimension, or that with 1 in place of one dimension"
        )


class KLDivLoss(TermwiseLoss):
    """L = mean of t (log t - x): x a model's log-probabilities, t probabilities.   input, target: they broadcast.

    The Kullback-Leibler divergence is reduction="batchmean": the sum of all by the size of the first dimension.
    log_target: whether the target holds logarithms too.
    """

    autocast = "kl_div"
    function = staticmethod(functional.kl_div)
    derivatives: ClassVar = {"input": functional.kl_div_grad_input, "target": functional.kl_div_grad_target}
    alike = False
    reductions = ("mean", "sum", "batchmean", "none")

    def __init__(
        self,
        size_average: None = None,
        reduce: None = None,
        reduction: str = "mean",
        log_target: bool = False,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        if reduction == "mean":
            warnings.warn(
                'KLDivLoss(reduction="mean") is the mean over all values, classes too; the divergence of a '
                'sample is reduction="batchmean"',
                stacklevel=2,
            )
        self.log_target = log_target

    def forward(self, call: Any, input: Tensor, target: Tensor) -> Tensor:
        if self.reduction == "batchmean" and input.shape != target.shape:
            shape = torch.broadcast_shapes(input.shape, target.shape)
            if input.shape[:1] != shape[:1] or input.dim() != len(shape):
                raise ValueError(
                    f"{self}: input is {describe(input)}, target is {describe(target)}: the batch is the input's first "
                    f"dimension, which here is not that of the terms, {tuple(shape)}. Write input.expand(...)"
                )
        return self._loss(call, input, target)

"""Normalization over groups of channels: GroupNorm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from modgrad import functional
from modgrad.nn.normalization.base import Normalization, wanted_of

__all__ = ["GroupNorm"]


class GroupNorm(Normalization):
    """y = (x - mean) / sqrt(var + eps) * weight + bias, the statistics over each sample's each group of channels.

    input (N, num_channels, ...); weight and bias (num_channels). With one group: over all of a sample's values; with
    num_channels groups: over each channel, as InstanceNorm.
    """

    autocast = "group_norm"

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if num_groups < 1 or num_channels % num_groups:
            raise ValueError(
                f"GroupNorm({num_groups}, {num_channels}): num_channels must be divisible by num_groups, which is at "
                "least 1"
            )
        self.num_groups, self.num_channels, self.eps, self.affine = num_groups, num_channels, eps, affine
        self._make_parameters(num_channels, affine, affine and bias, device, dtype)

    def forward(self, call: Any, input: Tensor) -> Tensor:
        shape = input.shape
        if input.dim() < 2 or shape[1] != self.num_channels:
            raise ValueError(
                f"{self} was given an input of shape {tuple(shape)}: expected (N, {self.num_channels}, ...)"
            )
        if shape[0] * self.num_channels // self.num_groups * math.prod(shape[2:]) == 1:
            raise ValueError(f"{self} needs more than one value for each group, got {tuple(shape)}")
        weight = self.weight
        try:
            output, mean, scale = functional.group_norm(input, self.num_groups, weight, self.bias, self.eps)
        except RuntimeError as error:
            raise self._wrong_dtype(input) or error from error
        call.wanted_of = wanted_of(call)
        if call.wanted or "weight" in call.parameters:
            call.save(input, mean, scale, weight)
        return output

    def _computed(self, call: Any, grad: Tensor) -> Sequence[Tensor | None]:
        if not call.saved:  # of the bias alone, for which nothing is needed
            return None, None, grad.sum([0, *range(2, grad.dim())])
        input, mean, scale, weight = call.saved
        return functional.group_norm_backward(grad, input, mean, scale, weight, call.wanted_of)

    def extra_repr(self) -> str:
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )

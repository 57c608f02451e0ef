"""Normalization layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from modgrad import functional
from modgrad.graph import Buffer, Parameter, Primitive

__all__ = ["BatchNorm2d", "LayerNorm"]


class BatchNorm2d(Primitive):
    """y = (x - mean) / sqrt(var + eps) * weight + bias, for each channel.   input (N, C, H, W).

    In training the statistics are the batch's own, and the running ones move towards them by `momentum` (by 1 / number
    of batches if it is None); in evaluation they are the running ones, where there are any.
    """

    weight: Parameter | None
    bias: Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        ones = torch.ones(num_features, device=device, dtype=dtype)
        self.register_parameter("weight", Parameter(ones) if affine else None)
        self.register_parameter("bias", Parameter(torch.zeros_like(ones)) if affine and bias else None)
        track = track_running_stats
        self.running_mean = Buffer(torch.zeros_like(ones) if track else None)  # type: ignore[assignment]
        self.running_var = Buffer(torch.ones_like(ones) if track else None)  # type: ignore[assignment]
        count = torch.tensor(0, dtype=torch.long, device=device) if track else None
        self.num_batches_tracked = Buffer(count)  # type: ignore[assignment]

    def reset_running_stats(self) -> None:
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        self.reset_running_stats()
        if self.weight is not None:
            self.weight.data.fill_(1)
        if self.bias is not None:
            self.bias.data.zero_()

    def forward(self, call: Any, input: Tensor) -> Tensor:
        if input.dim() != 4 or input.shape[1] != self.num_features:
            raise ValueError(
                f"{self} was given an input of shape {tuple(input.shape)}: expected (N, {self.num_features}, H, W)"
            )
        running_mean, running_var = self.running_mean, self.running_var
        call.batch_statistics = self.training or running_mean is None
        if not self.training and running_mean is not None and running_var is not None:
            call.save(input, running_mean, running_var, self.weight)
            return functional.batch_norm_apply(input, running_mean, running_var, self.weight, self.bias, self.eps)
        if self.training and math.prod(input.shape) == self.num_features:
            raise ValueError(f"{self} in training needs more than one value for each channel, got {tuple(input.shape)}")
        output, mean, scale, variance = functional.batch_norm(input, self.weight, self.bias, self.eps)
        if self.training and self.running_mean is not None:
            self._track(mean, variance)
        call.save(input, mean, scale, self.weight)
        return output

    def _track(self, mean: Tensor, variance: Tensor) -> None:
        running_mean, running_var, count = self.running_mean, self.running_var, self.num_batches_tracked
        assert running_mean is not None
        assert running_var is not None
        assert count is not None
        count.add_(1)
        momentum = 1 / count.to(mean.dtype) if self.momentum is None else self.momentum
        running_mean.copy_(running_mean * (1 - momentum) + mean * momentum)
        running_var.copy_(running_var * (1 - momentum) + variance * momentum)

    def _gradients(self, call: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """All three, from one pass: whichever of the two methods below comes first leaves them for the other."""
        known = getattr(call, "gradients_of", None)
        if known is None or known[0] is not grad:
            input, mean, spread, weight = call.saved
            if call.batch_statistics:
                three = functional.batch_norm_backward(grad, input, mean, spread, weight)
            else:
                three = functional.batch_norm_apply_backward(grad, input, mean, spread, weight, self.eps)
            call.gradients_of = known = grad, three
        return known[1]

    def backward(self, call: Any, grad: Tensor) -> Tensor:
        return self._gradients(call, grad)[0]

    def parameter_gradients(self, call: Any, grad: Tensor) -> dict[str, Tensor | None]:
        _, weight, bias = self._gradients(call, grad)
        return {"weight": weight, "bias": bias}

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class LayerNorm(Primitive):
    """y = (x - mean) / sqrt(var + eps) * weight + bias, the statistics over the last dimensions, those of
    normalized_shape.   input (..., *normalized_shape), weight and bias of normalized_shape.
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        shape = tuple(normalized_shape) if isinstance(normalized_shape, Sequence) else (int(normalized_shape),)
        if not shape:
            raise ValueError("LayerNorm(normalized_shape=()): expected a number, or at least one, to normalize over")
        self.normalized_shape, self.eps, self.elementwise_affine = shape, eps, elementwise_affine
        affine = elementwise_affine
        ones = torch.ones(shape, device=device, dtype=dtype)
        self.register_parameter("weight", Parameter(ones) if affine else None)
        self.register_parameter("bias", Parameter(torch.zeros_like(ones)) if affine and bias else None)

    def reset_parameters(self) -> None:
        if self.weight is not None:
            self.weight.data.fill_(1)
        if self.bias is not None:
            self.bias.data.zero_()

    def forward(self, call: Any, input: Tensor) -> Tensor:
        weight = self.weight
        try:
            output, mean, scale = functional.layer_norm(input, self.normalized_shape, weight, self.bias, self.eps)
        except RuntimeError as error:
            raise self._explained(input) or error from error
        call.wanted_of = call.wants(0), call.wants("weight"), call.wants("bias")
        if call.wanted or "weight" in call.parameters:
            call.save(input, mean, scale, weight)
        return output

    def _gradients(self, call: Any, grad: Tensor) -> Sequence[Tensor | None]:
        """Those wanted, from one pass: whichever of the two methods below comes first leaves them for the other."""
        known = getattr(call, "gradients_of", None)
        if known is None or known[0] is not grad:
            if call.saved:
                input, mean, scale, weight = call.saved
                three = functional.layer_norm_backward(
                    grad, input, self.normalized_shape, mean, scale, weight, call.wanted_of
                )
            else:  # of the bias alone, for which nothing is needed
                three = None, None, functional.sum_to_shape(grad, torch.Size(self.normalized_shape))
            call.gradients_of = known = grad, three
        return known[1]

    def backward(self, call: Any, grad: Tensor) -> Tensor | None:
        return self._gradients(call, grad)[0]

    def parameter_gradients(self, call: Any, grad: Tensor) -> dict[str, Tensor | None]:
        _, weight, bias = self._gradients(call, grad)
        return {"weight": weight, "bias": bias}

    def _explained(self, input: Tensor) -> Exception | None:
        shape = self.normalized_shape
        if tuple(input.shape[-len(shape) :]) != shape:
            return ValueError(
                f"{self} was given an input of shape {tuple(input.shape)}: its last dimensions must be {shape}"
            )
        if self.weight is not None and input.dtype != self.weight.dtype:
            dtype = self.weight.dtype
            return TypeError(
                f"{self} has parameters of {dtype} and was given an input of {input.dtype}: write input.to({dtype})"
            )
        return None

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, "
            f"bias={self.bias is not None}"
        )

"""Normalization over the last dimensions: LayerNorm, RMSNorm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from modgrad import functional
from modgrad.nn.normalization.base import Normalization, wanted_of

__all__ = ["LayerNorm", "RMSNorm"]


class OverLast(Normalization):
    """input (..., *normalized_shape), weight and bias of normalized_shape."""

    normalized_shape: tuple[int, ...]

    def _set_shape(self, normalized_shape: int | Sequence[int]) -> None:
        shape = tuple(normalized_shape) if isinstance(normalized_shape, Sequence) else (int(normalized_shape),)
        if not shape:
            name = type(self).__name__
            raise ValueError(f"{name}(normalized_shape=()): expected a number, or at least one, to normalize over")
        self.normalized_shape = shape

    def _explained(self, input: Tensor) -> Exception | None:
        shape = self.normalized_shape
        if tuple(input.shape[-len(shape) :]) != shape:
            return ValueError(
                f"{self} was given an input of shape {tuple(input.shape)}: its last dimensions must be {shape}"
            )
        return self._wrong_dtype(input)


class LayerNorm(OverLast):
    """y = (x - mean) / sqrt(var + eps) * weight + bias, the statistics over the last dimensions, those of
    normalized_shape.   input (..., *normalized_shape), weight and bias of normalized_shape.
    """

    autocast = "layer_norm"

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
        self._set_shape(normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        affine = elementwise_affine
        self._make_parameters(self.normalized_shape, affine, affine and bias, device, dtype)

    def forward(self, call: Any, input: Tensor) -> Tensor:
        weight = self.weight
        try:
            output, mean, scale = functional.layer_norm(input, self.normalized_shape, weight, self.bias, self.eps)
        except RuntimeError as error:
            raise self._explained(input) or error from error
        call.wanted_of = wanted_of(call)
        if call.wanted or "weight" in call.parameters:
            call.save(input, mean, scale, weight)
        return output

    def _computed(self, call: Any, grad: Tensor) -> Sequence[Tensor | None]:
        shape = self.normalized_shape
        if not call.saved:  # of the bias alone, for which nothing is needed
            return None, None, functional.sum_to_shape(grad, torch.Size(shape))
        input, mean, scale, weight = call.saved
        return functional.layer_norm_backward(grad, input, shape, mean, scale, weight, call.wanted_of)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, "
            f"bias={self.bias is not None}"
        )


class RMSNorm(OverLast):
    """y = x / sqrt(mean(x^2) + eps) * weight, the mean over the last dimensions, those of normalized_shape.

    input (..., *normalized_shape), weight of normalized_shape. eps: if None, the distance from 1 to the next number of
    the kind that is computed with: float64's for float64, else float32's.
    """

    autocast = "rms_norm"

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self._set_shape(normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        self._make_parameters(self.normalized_shape, elementwise_affine, False, device, dtype)
        del self.bias

    def forward(self, call: Any, input: Tensor) -> Tensor:
        shape, weight = self.normalized_shape, self.weight
        if input.dim() < len(shape) or input.shape[-len(shape) :] != shape:
            raise self._explained(input)  # type: ignore[misc]
        eps = self.eps
        if eps is None:
            eps = torch.finfo(torch.promote_types(input.dtype, torch.float32)).eps
        output, scale = functional.rms_norm(input, shape, weight, eps)
        call.wanted_of = call.wants(0), call.wants("weight")
        call.save(input, scale, weight)
        return output

    def _computed(self, call: Any, grad: Tensor) -> Sequence[Tensor | None]:
        input, scale, weight = call.saved
        return functional.rms_norm_backward(grad, input, self.normalized_shape, scale, weight, call.wanted_of)

    def parameter_gradients(self, call: Any, grad: Tensor) -> dict[str, Tensor | None]:
        return {"weight": self._gradients(call, grad)[1]}

    def reset_parameters(self) -> None:
        if self.weight is not None:
            self.weight.data.fill_(1)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"

"""The bilinear layer."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from modgrad import functional
from modgrad.graph import Call, Parameter, Primitive
from modgrad.graph.errors import describe
from modgrad.nn import init

__all__ = ["Bilinear"]


class Bilinear(Primitive):
    """y_o = x1^T W_o x2 + b_o.   input1 (..., in1_features), input2 (..., in2_features), y (..., out_features).

    weight (out_features, in1_features, in2_features), bias (out_features).
    """

    autocast = "bilinear"
    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if in1_features <= 0:
            raise ValueError(f"Bilinear(in1_features={in1_features}): expected a number above 0")
        self.in1_features, self.in2_features, self.out_features = in1_features, in2_features, out_features
        shape = out_features, in1_features, in2_features
        self.weight = Parameter(torch.empty(shape, device=device, dtype=dtype))
        self.register_parameter(
            "bias", Parameter(torch.empty(out_features, device=device, dtype=dtype)) if bias else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        bound = 1 / math.sqrt(self.weight.shape[1])
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, call: Call, input1: Tensor, input2: Tensor) -> Tensor:
        if input1.shape[:-1] != input2.shape[:-1]:
            raise self._mismatch(input1, input2)
        try:
            output = functional.bilinear(input1, input2, self.weight, self.bias)
        except (RuntimeError, IndexError) as error:
            raise self._mismatch(input1, input2) from error
        trained = "weight" in call.parameters
        call.save(
            input1 if trained or call.wants(1) else None,
            input2 if trained or call.wants(0) else None,
            self.weight if call.wants(0) or call.wants(1) else None,
        )
        return output

    def backward(self, call: Call, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        input1, input2, weight = call.saved
        return (
            functional.bilinear_grad_input1(grad, input2, weight) if call.wants(0) else None,
            functional.bilinear_grad_input2(grad, input1, weight) if call.wants(1) else None,
        )

    def parameter_gradients(self, call: Call, grad: Tensor) -> dict[str, Tensor | None]:
        input1, input2, _ = call.saved
        return {
            "weight": functional.bilinear_grad_weight(grad, input1, input2) if call.wants("weight") else None,
            "bias": functional.linear_grad_bias(grad) if call.wants("bias") else None,
        }

    def _mismatch(self, input1: Tensor, input2: Tensor) -> Exception:
        return ValueError(
            f"{self}: input1 is {describe(input1)}, input2 is {describe(input2)}; expected (..., {self.in1_features}) "
            f"and (..., {self.in2_features}), alike but for the last dimension, of {self.weight.dtype}"
        )

    def extra_repr(self) -> str:
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, "
            f"out_features={self.out_features}, bias={self.bias is not None}"
        )

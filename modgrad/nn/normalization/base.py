"""What normalization layers share: a weight, a bias, and one pass for the gradients of these and of the input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from modgrad.graph import Parameter, Primitive

__all__: list[str] = []


class Normalization(Primitive):
    """Values brought to mean 0 and variance 1, or the like; then times weight, plus bias, where there are any."""

    weight: Parameter | None
    bias: Parameter | None

    def _make_parameters(self, shape: Any, weight: bool, bias: bool, device: Any, dtype: Any) -> None:
        self.register_parameter("weight", Parameter(torch.ones(shape, device=device, dtype=dtype)) if weight else None)
        self.register_parameter("bias", Parameter(torch.zeros(shape, device=device, dtype=dtype)) if bias else None)

    def reset_parameters(self) -> None:
        if self.weight is not None:
            self.weight.data.fill_(1)
        if self.bias is not None:
            self.bias.data.zero_()

    def _computed(self, call: Any, grad: Tensor) -> Sequence[Tensor | None]:
        """The gradients that `call.wanted_of` says, of input, weight and bias; None for the others."""
        raise NotImplementedError

    def _gradients(self, call: Any, grad: Tensor) -> Sequence[Tensor | None]:
        """Those wanted, from one pass: whichever of the two methods below comes first leaves them for the other."""
        known = getattr(call, "gradients_of", None)
        if known is None or known[0] is not grad:
            call.gradients_of = known = grad, self._computed(call, grad)
        return known[1]

    def backward(self, call: Any, grad: Tensor) -> Tensor | None:
        return self._gradients(call, grad)[0]

    def parameter_gradients(self, call: Any, grad: Tensor) -> dict[str, Tensor | None]:
        _, weight, bias = self._gradients(call, grad)
        return {"weight": weight, "bias": bias}

    def _wrong_dtype(self, input: Tensor) -> Exception | None:
        """What to raise where a kernel would not have the input beside the parameters."""
        if self.weight is None or input.dtype == self.weight.dtype:
            return None
        dtype = self.weight.dtype
        return TypeError(
            f"{self} has parameters of {dtype} and was given an input of {input.dtype}: write input.to({dtype})"
        )


def wanted_of(call: Any) -> tuple[bool, bool, bool]:
    """Which gradients are wanted: of the input, the weight, the bias."""
    return call.wants(0), call.wants("weight"), call.wants("bias")

"""ReLU and its kind."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from modgrad import functional
from modgrad.graph import Parameter, Primitive
from modgrad.graph.mode import mode
from modgrad.nn.activation.base import InPlace, OfOutput, WithOptions

__all__ = ["LeakyReLU", "PReLU", "RReLU", "ReLU", "Threshold"]


class ReLU(InPlace, OfOutput):
    """y = max(x, 0). `inplace` is taken for PyTorch's sake and has no effect: a Variable is never changed in place."""

    function = staticmethod(functional.relu)
    derivative = staticmethod(functional.relu_backward)
    derivative_ = staticmethod(functional.relu_backward_)


class Threshold(WithOptions):
    """y = x where x > threshold, else value."""

    function = staticmethod(functional.threshold)
    options = ("threshold", "value")

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__()
        self.threshold, self.value, self.inplace = threshold, value, inplace

    def keeps_output(self) -> bool:
        return self.value <= self.threshold

    @staticmethod
    def derivative(grad: Tensor, kept: Tensor, threshold: float, value: float) -> Tensor:
        return functional.threshold_backward(grad, kept, threshold)

    @staticmethod
    def derivative_(grad: Tensor, kept: Tensor, threshold: float, value: float) -> Tensor:
        return functional.threshold_backward_(grad, kept, threshold)


class LeakyReLU(WithOptions):
    """y = x where x > 0, else negative_slope x."""

    function = staticmethod(functional.leaky_relu)
    derivative = staticmethod(functional.leaky_relu_backward)
    derivative_ = staticmethod(functional.leaky_relu_backward_)
    options = ("negative_slope",)

    def __init__(self, negative_slope: float = 1e-2, inplace: bool = False) -> None:
        super().__init__()
        self.negative_slope, self.inplace = negative_slope, inplace

    def keeps_output(self) -> bool:
        return self.negative_slope >= 0


class RReLU(Primitive):
    """y = r x where x < 0, with r of U(lower, upper) at each element by itself; in evaluation r = (lower + upper) / 2.

    Drawn from torch's generator as PyTorch draws it; inside `with Randomness(seed)` from that seed.
    """

    def __init__(self, lower: float = 1.0 / 8, upper: float = 1.0 / 3, inplace: bool = False) -> None:
        super().__init__()
        if not lower <= upper:
            raise ValueError(f"RReLU(lower={lower}, upper={upper}): expected two slopes, the lower one first")
        self.lower, self.upper, self.inplace = lower, upper, inplace

    def forward(self, call: Any, input: Tensor) -> Tensor:
        if not self.training:
            call.slope = slope = (self.lower + self.upper) / 2
            output = functional.leaky_relu(input, slope)
            call.save(output if slope >= 0 else input)
            return output
        call.slope = None
        if mode.randomness is None:
            output, noise = functional.rrelu(input, self.lower, self.upper)
        else:
            key = functional.random_key(*mode.randomness.draw())
            output, noise = functional.rrelu_keyed(input, self.lower, self.upper, key)
        call.save(noise)
        return output

    def backward(self, call: Any, grad: Tensor) -> Tensor:
        (kept,) = call.saved
        if call.slope is None:
            return functional.rrelu_backward(grad, kept)
        return functional.leaky_relu_backward(grad, kept, call.slope)

    def extra_repr(self) -> str:
        return f"lower={self.lower}, upper={self.upper}" + ", inplace=True" * self.inplace


class PReLU(Primitive):
    """y = x where x > 0, else w x.   weight: of num_parameters, 1 for all or one for each channel of (N, C, ...)."""

    autocast = "prelu"

    def __init__(self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.num_parameters, self.init = num_parameters, init
        self.weight = Parameter(torch.full((num_parameters,), float(init), device=device, dtype=dtype))

    def reset_parameters(self) -> None:
        self.weight.data.fill_(self.init)

    def forward(self, call: Any, input: Tensor) -> Tensor:
        check_prelu(self, input, self.weight)
        call.save(input, self.weight)
        return functional.prelu(input, self.weight)

    def _gradients(self, call: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        """Both, from one pass: whichever of the two methods below comes first leaves them for the other."""
        known = getattr(call, "gradients_of", None)
        if known is None or known[0] is not grad:
            call.gradients_of = known = grad, functional.prelu_backward(grad, *call.saved)
        return known[1]

    def backward(self, call: Any, grad: Tensor) -> Tensor:
        if call.wants("weight"):
            return self._gradients(call, grad)[0]
        return functional.prelu_grad_input(grad, *call.saved)

    def parameter_gradients(self, call: Any, grad: Tensor) -> dict[str, Tensor | None]:
        if call.wants(0):
            return {"weight": self._gradients(call, grad)[1]}
        return {"weight": functional.prelu_grad_weight(grad, *call.saved)}

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


def check_prelu(who: Any, input: Tensor, weight: Tensor) -> None:
    """Raise where weight is not one number for each channel of the input, nor one for all."""
    if weight.dim() > 1:
        raise ValueError(f"{who} was given a weight of shape {tuple(weight.shape)}: expected one dimension, or none")
    channels = input.shape[1] if input.dim() > 1 else 1
    if weight.numel() != 1 and weight.numel() != channels:
        raise ValueError(
            f"{who} has {weight.numel()} slopes and was given an input of shape {tuple(input.shape)}: "
            f"expected (N, {weight.numel()}, ...), a slope for each channel"
        )
    if weight.dtype != input.dtype:
        raise TypeError(
            f"{who} has slopes of {weight.dtype} and was given an input of {input.dtype}: "
            f"write input.to({weight.dtype})"
        )

"""Layers of the affine map, and those that only pass on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from modgrad.functional import linear, linear_grad_bias, linear_grad_input, linear_grad_weight, linear_grad_weight_
from modgrad.graph import Call, Module, Parameter, Primitive
from modgrad.nn import init

__all__ = ["Flatten", "Identity", "Linear", "Unflatten"]


class Linear(Primitive):
    """y = x W^T + b.   x (..., in_features), weight (out_features, in_features), bias (out_features)."""

    autocast = "linear"
    weight: Parameter
    bias: Parameter | None

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.weight = Parameter(torch.empty(out_features, in_features, device=device, dtype=dtype))
        self.register_parameter(
            "bias", Parameter(torch.empty(out_features, device=device, dtype=dtype)) if bias else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        init.linear_and_bias_(self.weight, self.bias)

    def forward(self, call: Call, input: Tensor) -> Tensor:
        weight = self.weight
        try:
            output = linear(input, weight, self.bias)
        except RuntimeError as error:
            raise self._explained(input) or error from error
        call.save(input if "weight" in call.parameters else None, weight)
        return output

    def backward(self, call: Call, grad: Tensor) -> Tensor:
        _, weight = call.saved
        return linear_grad_input(grad, weight)

    def parameter_gradients(self, call: Call, grad: Tensor) -> dict[str, Tensor | None]:
        input, _ = call.saved
        return {
            "weight": linear_grad_weight(grad, input) if "weight" in call.parameters else None,
            "bias": linear_grad_bias(grad) if "bias" in call.parameters else None,
        }

    def parameter_gradients_(self, call: Call, grad: Tensor, gradients: dict[str, Tensor]) -> None:
        input, _ = call.saved
        if "weight" in gradients:
            linear_grad_weight_(gradients["weight"], grad, input)
        if "bias" in gradients:
            gradients["bias"].add_(linear_grad_bias(grad))

    def _explained(self, input: Tensor) -> Exception | None:
        if input.dim() == 0 or input.shape[-1] != self.in_features:
            return ValueError(
                f"{self} was given an input of shape {tuple(input.shape)}: "
                f"its last dimension must be in_features={self.in_features}"
            )
        if input.dtype != self.weight.dtype:
            return TypeError(
                f"{self} has parameters of {self.weight.dtype} and was given an input of {input.dtype}: write "
                f"input.to({self.weight.dtype})"
                + (f" or module.to({input.dtype})" if input.is_floating_point() else "")
            )
        return None

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Identity(Module):
    """Gives back its input. Takes any arguments, and has no use for them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Any) -> Any:
        return input


class Flatten(Module):
    """Joins dimensions start_dim to end_dim into one."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input: Any) -> Any:
        return input.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Puts several dimensions, of sizes unflattened_size, in the place of dimension dim; one of them may be -1.

    >>> from modgrad import nn
    >>> nn.Unflatten(1, (2, 3))(torch.zeros(5, 6)).shape
    torch.Size([5, 2, 3])
    """

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        super().__init__()
        if not isinstance(dim, int):
            raise TypeError(f"Unflatten(dim={dim!r}): expected the number of a dimension; names are not there")
        if not isinstance(unflattened_size, (tuple, list)) or any(not isinstance(n, int) for n in unflattened_size):
            raise TypeError(f"Unflatten(unflattened_size={unflattened_size!r}): expected whole numbers in a tuple")
        self.dim, self.unflattened_size = dim, unflattened_size

    def forward(self, input: Any) -> Any:
        shape, sizes = tuple(input.shape), tuple(self.unflattened_size)
        if not -len(shape) <= self.dim < len(shape):
            raise IndexError(f"{self} was given an input of shape {shape}, which has no dimension {self.dim}")
        place = self.dim % len(shape)
        known = math.prod(n for n in sizes if n != -1)
        if sizes.count(-1) == 1:
            fits = known > 0 and shape[place] % known == 0
            sizes = tuple(shape[place] // known if n == -1 and fits else n for n in sizes)
        else:
            fits = known == shape[place] and -1 not in sizes
        if not fits or not sizes:
            raise ValueError(
                f"{self} was given an input of shape {shape}: dimension {self.dim}, of {shape[place]}, cannot be "
                f"written as {sizes}"
            )
        return input.reshape(*shape[:place], *sizes, *shape[place + 1 :])

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"

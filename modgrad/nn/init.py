"""The initial values of parameters: PyTorch's, from the same random numbers for the same seed."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_plainly = torch._C.DisableTorchFunctionSubclass


def fan_in(weight: Tensor) -> int:
    """How many inputs one output of a linear or convolution weight (O, I, ...) sums over."""
    return int(math.prod(weight.shape[1:]))


def uniform_(tensor: Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Fill with U(low, high), in place."""
    with _plainly(), torch.no_grad():
        tensor.uniform_(low, high)
    return tensor


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Fill with N(mean, std^2), in place."""
    with _plainly(), torch.no_grad():
        tensor.normal_(mean, std)
    return tensor


def kaiming_uniform_(weight: Tensor, a: float = 0.0) -> Tensor:
    """Fill with U(-bound, bound), bound = sqrt(6 / ((1 + a^2) fan_in)), in place.   He et al. 2015, eq. 10."""
    gain = math.sqrt(2.0 / (1 + a**2))
    deviation = gain / math.sqrt(fan_in(weight))
    bound = math.sqrt(3.0) * deviation
    return uniform_(weight, -bound, bound)


def linear_and_bias_(weight: Tensor, bias: Tensor | None) -> None:
    """What PyTorch's Linear and convolutions start from: U(-k, k) with k = 1 / sqrt(fan_in), for both."""
    if weight.numel() > 0:
        kaiming_uniform_(weight, a=math.sqrt(5))
    if bias is not None and fan_in(weight) > 0:
        bound = 1 / math.sqrt(fan_in(weight))
        uniform_(bias, -bound, bound)

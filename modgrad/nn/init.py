"""The initial values of parameters: PyTorch's, from the same random numbers for the same seed.

Each fills its tensor in place, and gives it back. generator: draws from there in place of torch's own.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

import torch
from torch import Generator, Tensor

P = ParamSpec("P")
_LINEAR = ("linear", *(f"conv{t}{n}d" for t in ("", "_transpose") for n in (1, 2, 3)))


def _in_place(fill: Callable[P, Any]) -> Callable[P, Tensor]:
    """`fill` on a tensor or a Parameter, which acts as a plain tensor in it."""

    @wraps(fill)
    def run(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        with torch._C.DisableTorchFunctionSubclass(), torch.no_grad():
            fill(*args, **kwargs)
        return args[0] if args else kwargs["tensor"]  # type: ignore[return-value]

    return run


def fan_in(weight: Tensor) -> int:
    """How many inputs one output of a linear or convolution weight (O, I, ...) sums over."""
    return int(math.prod(weight.shape[1:]))


def _fans(tensor: Tensor) -> tuple[int, int]:
    """How many inputs an output sums over, and how many outputs an input goes to.   tensor (O, I, ...)."""
    if tensor.dim() < 2:
        raise ValueError(f"fan in and fan out are of a weight (O, I, ...), got a tensor of shape {tuple(tensor.shape)}")
    receptive = math.prod(tensor.shape[2:])
    return tensor.shape[1] * receptive, tensor.shape[0] * receptive


def _fan(tensor: Tensor, mode: str) -> int:
    if mode.lower() not in ("fan_in", "fan_out"):
        raise ValueError(f'mode={mode!r}: expected "fan_in" or "fan_out"')
    return _fans(tensor)[mode.lower() == "fan_out"]


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """What the standard deviation of weights is to be scaled by ahead of a nonlinearity, to keep that of values.

    1 for linear layers and sigmoid, 5/3 for tanh, sqrt 2 for relu, sqrt(2 / (1 + param^2)) for leaky_relu of slope
    param (0.01), 3/4 for selu.   He et al. 2015.
    """
    if nonlinearity in _LINEAR or nonlinearity == "sigmoid":
        return 1
    if nonlinearity == "leaky_relu":
        if isinstance(param, bool) or not isinstance(param, (int, float, type(None))):
            raise ValueError(f"calculate_gain('leaky_relu', {param!r}): expected the negative slope, a number")
        return math.sqrt(2 / (1 + (0.01 if param is None else param) ** 2))
    gains = {"tanh": 5 / 3, "relu": math.sqrt(2), "selu": 3 / 4}
    if nonlinearity not in gains:
        known = ", ".join(("linear", "conv2d, ...", "sigmoid", "leaky_relu", *gains))
        raise ValueError(f"calculate_gain({nonlinearity!r}): expected one of {known}")
    return gains[nonlinearity]


@_in_place
def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> Any:
    """U(a, b)."""
    tensor.uniform_(a, b, generator=generator)


@_in_place
def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None) -> Any:
    """N(mean, std^2)."""
    tensor.normal_(mean, std, generator=generator)


@_in_place
def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> Any:
    """N(mean, std^2) within [a, b]: values outside are drawn anew.

    Where more than 0.7 of the distribution is outside, candidates are drawn from U(a, b), and one is taken with the
    probability of its density to the greatest within the bounds.
    """
    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn(
            f"trunc_normal_(mean={mean}, std={std}, a={a}, b={b}): mean is more than 2 std outside of [a, b], the "
            "distribution may be incorrect",
            stacklevel=3,
        )
    if tensor.is_meta:
        return
    inside = sum(sign * (1 + math.erf((x - mean) / std / math.sqrt(2))) / 2 for sign, x in ((1, b), (-1, a)))
    if inside > 0.3:
        low, high = (tensor.new_tensor(x, device="cpu").item() for x in (a, b))  # as the tensor's dtype has them
        found = tensor.normal_(mean, std, generator=generator)
        while (outside := (found < low) | (found > high)).any():
            found = torch.where(outside, torch.empty_like(found).normal_(mean, std, generator=generator), found)
    else:
        greatest = -0.5 * ((max(a, min(mean, b)) - mean) / std) ** 2

        def refused(candidates: Tensor) -> Tensor:
            density = candidates.clone().sub_(mean).div_(std).pow_(2).mul_(-0.5).sub_(greatest)
            return torch.empty_like(tensor).uniform_(generator=generator).log_().gt(density)

        found = tensor.uniform_(a, b, generator=generator)
        pending = refused(found)
        while pending.any():
            candidates = torch.empty_like(tensor).uniform_(a, b, generator=generator)
            found = torch.where(pending, candidates, found)
            pending = torch.where(pending, refused(candidates), pending)
    if found is not tensor:
        tensor.copy_(found)


@_in_place
def constant_(tensor: Tensor, val: float) -> Any:
    """val everywhere."""
    tensor.fill_(val)


@_in_place
def ones_(tensor: Tensor) -> Any:
    """1 everywhere."""
    tensor.fill_(1.0)


@_in_place
def zeros_(tensor: Tensor) -> Any:
    """0 everywhere."""
    tensor.zero_()


@_in_place
def eye_(tensor: Tensor) -> Any:
    """The identity, of a matrix."""
    if tensor.dim() != 2:
        raise ValueError(f"eye_: expected a matrix, got a tensor of shape {tuple(tensor.shape)}")
    tensor.copy_(torch.eye(*tensor.shape, dtype=tensor.dtype, device=tensor.device))


@_in_place
def dirac_(tensor: Tensor, groups: int = 1) -> Any:
    """The convolution that gives its input back, channel by channel, as far as there are channels."""
    if tensor.dim() not in (3, 4, 5):
        raise ValueError(f"dirac_: expected the weight of a convolution, got a tensor of shape {tuple(tensor.shape)}")
    if tensor.shape[0] % groups:
        raise ValueError(f"dirac_(groups={groups}): {tensor.shape[0]} output channels cannot be divided by it")
    if tensor.is_meta:
        return
    tensor.zero_()
    channels = tensor.shape[0] // groups
    centre = [size // 2 for size in tensor.shape[2:]]
    for group in range(groups):
        for channel in range(min(channels, tensor.shape[1])):
            tensor[(group * channels + channel, channel, *centre)] = 1


def _xavier_std(tensor: Tensor, gain: float) -> float:
    return gain * math.sqrt(2 / sum(_fans(tensor)))


@_in_place
def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Any:
    """U(-a, a), a = gain sqrt(6 / (fan in + fan out)).   Glorot & Bengio 2010, eq. 16."""
    bound = math.sqrt(3) * _xavier_std(tensor, gain)
    tensor.uniform_(-bound, bound, generator=generator)


@_in_place
def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Any:
    """N(0, std^2), std = gain sqrt(2 / (fan in + fan out)).   Glorot & Bengio 2010."""
    tensor.normal_(0, _xavier_std(tensor, gain), generator=generator)


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float | None:
    if 0 in tensor.shape:
        warnings.warn("initializing a tensor without elements does nothing", stacklevel=4)
        return None
    return calculate_gain(nonlinearity, a) / math.sqrt(_fan(tensor, mode))


@_in_place
def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Any:
    """U(-bound, bound), bound = gain sqrt(3 / fan); a: slope of the leaky_relu.   He et al. 2015, eq. 10."""
    if (std := _kaiming_std(tensor, a, mode, nonlinearity)) is not None:
        tensor.uniform_(-math.sqrt(3) * std, math.sqrt(3) * std, generator=generator)


@_in_place
def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Any:
    """N(0, std^2), std = gain / sqrt(fan); a: slope of the leaky_relu.   He et al. 2015, eq. 10."""
    if (std := _kaiming_std(tensor, a, mode, nonlinearity)) is not None:
        tensor.normal_(0, std, generator=generator)


@_in_place
def orthogonal_(tensor: Tensor, gain: float = 1, generator: Generator | None = None) -> Any:
    """A matrix of orthonormal rows or columns, times gain; further dimensions count as columns.   Saxe et al. 2013."""
    if tensor.dim() < 2:
        raise ValueError(f"orthogonal_: expected 2 dimensions or more, got a tensor of shape {tuple(tensor.shape)}")
    if not tensor.numel() or tensor.is_meta:
        return
    rows = tensor.shape[0]
    wide = rows < tensor.numel() // rows
    matrix = tensor.new_empty((rows, tensor.numel() // rows)).normal_(0, 1, generator=generator)
    q, r = torch.linalg.qr(matrix.t() if wide else matrix)
    q *= torch.diag(r).sign()  # which makes it uniform among them: Mezzadri 2006
    tensor.copy_((q.t() if wide else q).reshape(tensor.shape)).mul_(gain)


@_in_place
def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Generator | None = None) -> Any:
    """N(0, std^2), but 0 for this part of each column of a matrix.   Martens 2010."""
    if tensor.dim() != 2:
        raise ValueError(f"sparse_: expected a matrix, got a tensor of shape {tuple(tensor.shape)}")
    if tensor.is_meta:
        return
    rows, columns = tensor.shape
    tensor.normal_(0, std, generator=generator)
    for column in range(columns):
        tensor[torch.randperm(rows)[: math.ceil(sparsity * rows)], column] = 0


def linear_and_bias_(weight: Tensor, bias: Tensor | None) -> None:
    """What PyTorch's Linear and convolutions start from: U(-k, k) with k = 1 / sqrt(fan_in), for both.

    A bias of what sums over nothing is 0; PyTorch's convolutions leave it as the memory was.
    """
    if weight.numel() > 0:
        kaiming_uniform_(weight, a=math.sqrt(5))
    if bias is not None:
        bound = 1 / math.sqrt(fan_in(weight)) if fan_in(weight) > 0 else 0
        uniform_(bias, -bound, bound)

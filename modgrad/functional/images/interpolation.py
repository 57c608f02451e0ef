"""Signals, images and volumes brought to another size: nearest, linear, cubic, area, Lanczos; and the derivative.

Along each dimension of space the new values are y = A x, with a matrix A (new size, old size) that depends on the sizes
only; so dL/dx = A^T dL/dy. Shapes: input (N, C, *), output (N, C, *size), * being 1 to 3 dimensions.

Place i of the new size lies at i (old - 1) / (new - 1) of the old one where the corners are aligned, which are centres
of pixels then, and at (i + 1/2) scale - 1/2 where they are not. scale is 1 / scales[d], or old / new where that is
None.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from modgrad.functional.kernel import kernel
from modgrad.functional.pooling import averaging_matrix

__all__ = ["interpolate", "interpolate_backward"]

Scales = Sequence[float | None]
_aten: Any = torch.ops.aten
_NEAREST = ("nearest", "nearest-exact")
# ATen's operators, by mode, the number of dimensions of space, and whether it is smoothed against aliasing.
_OPERATORS = {
    **{("nearest", n, False): f"upsample_nearest{n}d" for n in (1, 2, 3)},
    **{("nearest-exact", n, False): f"_upsample_nearest_exact{n}d" for n in (1, 2, 3)},
    ("linear", 1, False): "upsample_linear1d",
    ("bilinear", 2, False): "upsample_bilinear2d",
    ("trilinear", 3, False): "upsample_trilinear3d",
    ("bicubic", 2, False): "upsample_bicubic2d",
    ("bilinear", 2, True): "_upsample_bilinear2d_aa",
    ("bicubic", 2, True): "_upsample_bicubic2d_aa",
    ("lanczos", 2, True): "_upsample_lanczos2d_aa",
}


def _operator(tensor: Tensor, mode: str, antialias: bool, suffix: str = "") -> Any:
    """ATen's kernel, or None where the formula is to run.

    Lanczos it has since 2.13, on the CPU. Its nearest on the CPU is slower than the formula, and at some sizes its
    backward takes other places than its forward did: of 3 values by scale 1.1, forward reads 0, 0, 1, backward 0, 1, 2.
    """
    if mode == "lanczos" and not tensor.is_cpu:
        return None
    if mode in _NEAREST and tensor.is_cpu:
        return None
    packet = getattr(_aten, _OPERATORS[mode, tensor.dim() - 2, antialias] + suffix, None)
    return None if packet is None else packet.default


def _right_when_smoothed(old: Sequence[int], new: Sequence[int], scales: Scales) -> bool:
    """Whether ATen's forward kernel (PyTorch 2.13) is right: with an output one wide its rows are all the first one,
    and a dimension that keeps its size is passed over whatever its scale, which its backward does not do."""
    kept = (scale for a, b, scale in zip(old, new, scales, strict=True) if a == b)
    return new[-1] != 1 and all(scale in (None, 1.0) for scale in kept)


def _interpolate_kernel(
    input: Tensor, size: Sequence[int], scales: Scales, mode: str, align_corners: bool, antialias: bool
) -> Tensor:
    if mode == "area":
        return _AVERAGES[input.dim() - 2](input, size)
    if mode in _NEAREST and _channels_last(input):
        return _nearest_interpolated(input.movedim(1, -1), 1, size, scales, mode).movedim(-1, 1)
    operator = _operator(input, mode, antialias)
    if operator is None or (antialias and not _right_when_smoothed(input.shape[2:], size, scales)):
        return NotImplemented
    aligned = () if mode in _NEAREST else (align_corners,)
    output = operator(input, size, *aligned, *scales)
    return output


_nn: Any = torch._C._nn
_AVERAGES: dict[int, Any] = {1: torch.adaptive_avg_pool1d, 2: _nn.adaptive_avg_pool2d, 3: _nn.adaptive_avg_pool3d}


@kernel(_interpolate_kernel)
def interpolate(
    input: Tensor, size: Sequence[int], scales: Scales, mode: str, align_corners: bool, antialias: bool
) -> Tensor:
    """y = A x along each dimension of space.   mode, on the weights in a row of A:

    "nearest": 1 at floor(i scale); "nearest-exact": 1 at floor((i + 1/2) scale).
    "linear", "bilinear", "trilinear": 1 - |distance| at the two places next to the new one.
    "bicubic": Keys' cubic with a = -3/4 at the four next to it; beyond the edge the edge's value stands.   Keys 1981.
    "area": the mean over what the new place covers, as in `adaptive_avg_pool2d`.
    antialias: the weights of "bilinear", "bicubic" (then a = -1/2) and "lanczos" (sinc(d) sinc(d / 3), |d| < 3) are
    widened by the scale where it shrinks, and made to sum up to 1.
    """
    if mode in _NEAREST:
        return _nearest_interpolated(input, 2, size, scales, mode)
    for d, (new, scale) in enumerate(zip(size, scales, strict=True), 2):
        matrix = _matrix(input.shape[d], new, scale, mode, align_corners, antialias, input.device)
        input = _along(input, d, matrix)
    return input


def _interpolate_backward_kernel(
    grad: Tensor, input_shape: Sequence[int], scales: Scales, mode: str, align_corners: bool, antialias: bool
) -> Tensor:
    n = grad.dim() - 2
    gradient: Tensor
    if mode == "area":
        input = grad.new_empty(1).expand(input_shape)  # of which only the shape is read
        if n == 1:
            gradient = _aten._adaptive_avg_pool2d_backward(grad.unsqueeze(2), input.unsqueeze(2)).squeeze(2)
        else:
            backward = _aten._adaptive_avg_pool2d_backward if n == 2 else _aten._adaptive_avg_pool3d_backward
            gradient = backward(grad, input)
        return gradient
    if mode in _NEAREST and _channels_last(grad):
        return _nearest_gradient(grad.movedim(1, -1), 1, input_shape[2:], scales, mode).movedim(-1, 1)
    operator = _operator(grad, mode, antialias, "_backward")
    free = any(type(number) is not int for number in input_shape)  # which ATen's cannot be traced with
    copies = mode == "bicubic" and grad.shape == input_shape and any(scale not in (None, 1.0) for scale in scales)
    if (
        operator is None or free or copies
    ):  # ATen's backward of an unchanged size gives dL/dy on, whatever forward's scale
        return NotImplemented
    aligned = () if mode in _NEAREST else (align_corners,)
    gradient = operator(grad, grad.shape[2:], input_shape, *aligned, *scales)
    return gradient


@kernel(_interpolate_backward_kernel)
def interpolate_backward(
    grad: Tensor, input_shape: Sequence[int], scales: Scales, mode: str, align_corners: bool, antialias: bool
) -> Tensor:
    """dL/dx = A^T dL/dy along each dimension of space; of "nearest", each place's gradient to where it was read."""
    if mode in _NEAREST:
        return _nearest_gradient(grad, 2, input_shape[2:], scales, mode)
    for d, scale in enumerate(scales, 2):
        matrix = _matrix(input_shape[d], grad.shape[d], scale, mode, align_corners, antialias, grad.device)
        grad = _along(grad, d, matrix.t())
    return grad


def _channels_last(input: Tensor) -> bool:
    """Whether the channels lie side by side, as they are to lie in the output then."""
    return input.is_cpu and input.shape[1] > 1 and input.stride(1) == 1 and not input.is_contiguous()


def _nearest_interpolated(input: Tensor, first: int, size: Sequence[int], scales: Scales, mode: str) -> Tensor:
    """The dimensions from `first` on brought to `size`."""
    for d, new, scale in reversed(list(zip(range(first, first + len(size)), size, scales, strict=True))):
        input = input.index_select(d, _nearest(input.shape[d], new, scale, mode, input.device))
    return input


def _nearest_gradient(grad: Tensor, first: int, old_size: Sequence[int], scales: Scales, mode: str) -> Tensor:
    dtype = grad.dtype
    if dtype.itemsize < 4:  # summed in float32, rounded once
        grad = grad.float()
    for d, old, scale in zip(range(first, first + len(old_size)), old_size, scales, strict=True):
        place = _nearest(old, grad.shape[d], scale, mode, grad.device)
        grad = grad.new_zeros(*grad.shape[:d], old, *grad.shape[d + 1 :]).index_add(d, place, grad)
    return grad.to(dtype)


def _along(input: Tensor, d: int, matrix: Tensor) -> Tensor:
    """Dimension d of the input times a matrix (new, old); of 16 bits, in float32."""
    exact = input if input.dtype.itemsize >= 4 else input.float()
    product = exact.transpose(d, -1) @ matrix.to(exact.dtype).t()
    return product.transpose(d, -1).to(input.dtype)


def _scale(old: int, new: int, scale: float | None) -> float:
    return 1.0 / scale if scale is not None and scale > 0 else old / new


def _nearest(old: int, new: int, scale: float | None, mode: str, device: torch.device) -> Tensor:
    """The place of x that each place of y has its value from, in float32 as the kernels reckon.   (new), int64."""
    place = torch.arange(new, dtype=torch.float32, device=device) + (0.5 if mode == "nearest-exact" else 0.0)
    return (place * _scale(old, new, scale)).floor().to(torch.int64).clamp(max=old - 1)


def _matrix(
    old: int, new: int, scale: float | None, mode: str, align_corners: bool, antialias: bool, device: torch.device
) -> Tensor:
    """A (new, old), in float64."""
    if mode == "area":
        return averaging_matrix(old, new, torch.empty(0, dtype=torch.float64, device=device))
    place = torch.arange(old, dtype=torch.float64, device=device)
    target = torch.arange(new, dtype=torch.float64, device=device).unsqueeze(1)
    ratio = (old - 1) / max(new - 1, 1) if align_corners else _scale(old, new, scale)
    if align_corners and new == 1:
        ratio = 0.0
    if antialias:
        wide = max(ratio, 1.0)
        weight = _FILTERS[mode]((place - (target + 0.5) * ratio + 0.5) / wide)
        return weight / weight.sum(1, keepdim=True)
    if mode != "bicubic" and old == new:  # whatever the scale
        return torch.eye(old, dtype=torch.float64, device=device)
    source = target * ratio if align_corners else (target + 0.5) * ratio - 0.5
    if mode != "bicubic":
        return _triangle(place - source.clamp(0, old - 1))
    first = source.floor()
    weights = torch.zeros(new, old, dtype=torch.float64, device=device)
    for tap in (-1, 0, 1, 2):
        read = (first + tap).clamp(0, old - 1)
        weights = weights + torch.where(place == read, _cubic(source - first - tap, -0.75), 0.0)
    return weights


def _triangle(d: Tensor) -> Tensor:
    return (1 - d.abs()).clamp(min=0)


def _cubic(d: Tensor, a: float) -> Tensor:
    """Keys 1981, eq. 4, with a free slope a at distance 1."""
    d = d.abs()
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return torch.where(d < 1, near, torch.where(d < 2, far, 0.0))


def _lanczos(d: Tensor) -> Tensor:
    return torch.where(d.abs() < 3, _sinc(d) * _sinc(d / 3), 0.0)


def _sinc(d: Tensor) -> Tensor:
    """sin(pi d) / (pi d), and 1 at 0."""
    angle = d * math.pi
    return torch.where(d == 0, 1.0, angle.sin() / torch.where(d == 0, 1.0, angle))


_FILTERS: dict[str, Any] = {"bilinear": _triangle, "bicubic": lambda d: _cubic(d, -0.5), "lanczos": _lanczos}

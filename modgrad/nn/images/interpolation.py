"""Layers that bring signals, images and volumes to another size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from modgrad import functional
from modgrad.graph import Module, Primitive
from modgrad.nn.convolution import named

__all__ = ["Upsample", "UpsamplingBilinear2d", "UpsamplingNearest2d"]

Size = int | Sequence[int] | None
Factor = float | Sequence[float] | None
# The number of dimensions of space that each mode is for.
_MODES = {
    **dict.fromkeys(["nearest", "nearest-exact", "area"], (1, 2, 3)),
    **{"linear": (1,), "bilinear": (2,), "bicubic": (2,), "trilinear": (3,), "lanczos": (2,)},
}
_UNALIGNED = ("nearest", "nearest-exact", "area")


class Interpolation(Primitive):
    """The input at another size. Keeps nothing but its shape."""

    def forward(
        self,
        call: Any,
        input: Tensor,
        size: tuple[int, ...],
        scales: tuple[float | None, ...],
        mode: str,
        align_corners: bool,
        antialias: bool,
    ) -> Tensor:
        call.shape, call.how = input.shape, (scales, mode, align_corners, antialias)
        try:
            return functional.interpolate(input, size, scales, mode, align_corners, antialias)
        except RuntimeError as error:
            raise named(error, f"interpolate(size={size}, mode={mode!r})", input) from error

    def backward(self, call: Any, grad: Tensor) -> Tensor:
        return functional.interpolate_backward(grad, call.shape, *call.how)

    def autocast(self, input: Tensor, size: tuple[int, ...], scales: Any, mode: str, *rest: Any) -> str:
        n = len(size)
        return f"adaptive_avg_pool{n}d" if mode == "area" else f"upsample_{mode.removesuffix('-exact')}{n}d"


_INTERPOLATION = Interpolation()


def interpolate(
    input: Any,
    size: Size = None,
    scale_factor: Factor = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Any:
    """The input at another size, on Variables and plain tensors.   input (N, C, L), (N, C, H, W) or (N, C, D, H, W).

    size: the new one, a number or one for each dimension of space; or scale_factor, by which it is multiplied, and
    rounded down. The places that are read are reckoned with scale_factor as given, or with the ratio of the sizes if
    recompute_scale_factor. mode: "nearest", "nearest-exact", "area"; "linear" (L only), "bilinear", "bicubic" (H, W),
    "trilinear" (D, H, W), which know align_corners, whether the centres of the corners' pixels stay where they are;
    "lanczos" (H, W, with antialias). antialias: average over what a pixel covers where it shrinks, of "bilinear" and
    "bicubic".
    """
    n = input.dim() - 2
    _check(input, n, mode, align_corners, antialias)
    new, scales = _sizes(input.shape[2:], size, scale_factor, bool(recompute_scale_factor) or mode == "area")
    if any(number < 1 for number in new):
        raise ValueError(f"interpolate: of shape {tuple(input.shape)} to size {new}: there would be nothing left")
    return _INTERPOLATION(input, new, scales, mode, bool(align_corners), antialias)


def _check(input: Any, n: int, mode: str, align_corners: bool | None, antialias: bool) -> None:
    if mode not in _MODES:
        raise NotImplementedError(f"interpolate(mode={mode!r}): expected one of {', '.join(map(repr, _MODES))}")
    if n not in _MODES[mode]:
        shapes = " or ".join({1: "(N, C, L)", 2: "(N, C, H, W)", 3: "(N, C, D, H, W)"}[k] for k in _MODES[mode])
        raise NotImplementedError(
            f"interpolate(mode={mode!r}) was given an input of shape {tuple(input.shape)}: expected {shapes}"
        )
    if mode in _UNALIGNED and align_corners is not None:
        raise ValueError(f"interpolate(mode={mode!r}) knows no align_corners: leave it out")
    if antialias and mode not in ("bilinear", "bicubic", "lanczos"):
        raise ValueError(f"interpolate(mode={mode!r}, antialias=True): expected 'bilinear', 'bicubic' or 'lanczos'")
    if mode == "lanczos" and (align_corners or not antialias):
        raise ValueError("interpolate(mode='lanczos'): it is there with antialias=True and without align_corners only")


def _sizes(
    old: Sequence[int], size: Size, factor: Factor, recompute: bool
) -> tuple[tuple[int, ...], tuple[float | None, ...]]:
    """The new size, and by what scales the places are reckoned: None for the ratio of the sizes."""
    if (size is None) == (factor is None):
        raise ValueError(f"interpolate: give size or scale_factor, one of the two; got {size} and {factor}")
    given = size if factor is None else factor
    each: tuple[Any, ...] = tuple(given) if isinstance(given, (tuple, list)) else (given,) * len(old)
    if len(each) != len(old):
        what = "size" if factor is None else "scale_factor"
        raise ValueError(
            f"interpolate({what}={given}): expected a number, or {len(old)} for an input of {len(old) + 2} dimensions"
        )
    nothing = (None,) * len(old)
    if factor is None:
        return each, nothing
    new = tuple(int(number * scale) for number, scale in zip(old, each, strict=True))
    return new, nothing if recompute else tuple(float(scale) for scale in each)


class Upsample(Module):
    """The input at another size.   input (N, C, L), (N, C, H, W) or (N, C, D, H, W); arguments as of `interpolate`."""

    def __init__(
        self,
        size: Size = None,
        scale_factor: Factor = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        super().__init__()
        self.name = type(self).__name__
        self.size = size
        self.scale_factor: Factor = None
        if isinstance(scale_factor, (tuple, list)):
            self.scale_factor = tuple(float(factor) for factor in scale_factor)
        elif scale_factor:
            self.scale_factor = float(scale_factor)  # type: ignore[arg-type]
        self.mode, self.align_corners = mode, align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input: Any) -> Any:
        return interpolate(
            input, self.size, self.scale_factor, self.mode, self.align_corners, self.recompute_scale_factor
        )

    def extra_repr(self) -> str:
        given = f"size={self.size!r}" if self.scale_factor is None else f"scale_factor={self.scale_factor!r}"
        return f"{given}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """Images at another size, each pixel the nearest of the old ones.   input (N, C, H, W)."""

    def __init__(self, size: Size = None, scale_factor: Factor = None) -> None:
        super().__init__(size, scale_factor, "nearest")


class UpsamplingBilinear2d(Upsample):
    """Images at another size, by bilinear interpolation with the corners aligned.   input (N, C, H, W)."""

    def __init__(self, size: Size = None, scale_factor: Factor = None) -> None:
        super().__init__(size, scale_factor, "bilinear", True)

"""Padding layers: more elements at the ends of the last dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from modgrad import functional
from modgrad.graph import Primitive

__all__ = [
    "CircularPad1d",
    "CircularPad2d",
    "CircularPad3d",
    "ConstantPad1d",
    "ConstantPad2d",
    "ConstantPad3d",
    "ReflectionPad1d",
    "ReflectionPad2d",
    "ReflectionPad3d",
    "ReplicationPad1d",
    "ReplicationPad2d",
    "ReplicationPad3d",
    "ZeroPad1d",
    "ZeroPad2d",
    "ZeroPad3d",
]


class _Pad(Primitive):
    """padding: how many elements at (left, right, top, bottom, front, back), or one number for all; negative: away.

    Nothing is kept for backward but the input's shape.
    """

    directions: int
    mode: str = "constant"
    value: float = 0.0

    def __init__(self, padding: int | Sequence[int]) -> None:
        super().__init__()
        self.padding = (padding,) * (2 * self.directions) if isinstance(padding, int) else tuple(padding)

    def forward(self, call: Any, input: Tensor) -> Tensor:
        call.input_shape, call.padding, call.mode = input.shape, self.padding, self.mode
        return padded(self, input, self.padding, self.mode, self.value)

    def backward(self, call: Any, grad: Tensor) -> Tensor:
        return padded_backward(grad, call.input_shape, call.padding, call.mode)

    def autocast(self, input: Tensor) -> str:
        return f"{_NAMES[self.mode]}_pad{len(self.padding) // 2}d"

    def extra_repr(self) -> str:
        return f"{self.padding}"


class Pad(_Pad):
    """Padding of any kind and any number of dimensions: what stands behind the function `pad`."""

    def __init__(self, padding: Sequence[int], mode: str = "constant", value: float | None = None) -> None:
        super().__init__(padding)
        self.mode = mode
        self.value = 0.0 if value is None else value
        if mode not in _MODES:
            raise ValueError(f"pad(mode={mode!r}): expected one of {', '.join(map(repr, _MODES))}")
        if mode != "constant" and self.value:
            raise ValueError(f"pad(mode={mode!r}, value={value}): only what is padded with a constant has a value")

    def extra_repr(self) -> str:
        return f"{self.padding}, mode={self.mode!r}, value={self.value}"


class _ConstantPad(_Pad):
    def __init__(self, padding: int | Sequence[int], value: float) -> None:
        super().__init__(padding)
        self.value = value

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPad):
    """`value` at the ends of the last dimension, as many as padding says: (left, right)."""

    directions = 1


class ConstantPad2d(_ConstantPad):
    """`value` at the ends of the last two dimensions: padding (left, right, top, bottom)."""

    directions = 2


class ConstantPad3d(_ConstantPad):
    """`value` at the ends of the last three dimensions: padding (left, right, top, bottom, front, back)."""

    directions = 3


class ZeroPad1d(ConstantPad1d):
    """0 at the ends of the last dimension: padding (left, right)."""

    def __init__(self, padding: int | Sequence[int]) -> None:
        super().__init__(padding, 0.0)

    extra_repr = _Pad.extra_repr


class ZeroPad2d(ConstantPad2d):
    """0 at the ends of the last two dimensions: padding (left, right, top, bottom)."""

    def __init__(self, padding: int | Sequence[int]) -> None:
        super().__init__(padding, 0.0)

    extra_repr = _Pad.extra_repr


class ZeroPad3d(ConstantPad3d):
    """0 at the ends of the last three dimensions: padding (left, right, top, bottom, front, back)."""

    def __init__(self, padding: int | Sequence[int]) -> None:
        super().__init__(padding, 0.0)

    extra_repr = _Pad.extra_repr


class _ReflectionPad(_Pad):
    mode = "reflect"


class ReflectionPad1d(_ReflectionPad):
    """The ends mirrored, c b | a b c | b a.   input (N, C, W) or (C, W); padding (left, right), below W."""

    directions = 1


class ReflectionPad2d(_ReflectionPad):
    """The ends mirrored.   input (N, C, H, W) or (C, H, W); padding (left, right, top, bottom)."""

    directions = 2


class ReflectionPad3d(_ReflectionPad):
    """The ends mirrored.   input (N, C, D, H, W) or (C, D, H, W); padding (left, right, top, bottom, front, back)."""

    directions = 3


class _ReplicationPad(_Pad):
    mode = "replicate"


class ReplicationPad1d(_ReplicationPad):
    """The ends repeated, a a | a b c | c c.   input (N, C, W) or (C, W); padding (left, right)."""

    directions = 1


class ReplicationPad2d(_ReplicationPad):
    """The ends repeated.   input (N, C, H, W) or (C, H, W); padding (left, right, top, bottom)."""

    directions = 2


class ReplicationPad3d(_ReplicationPad):
    """The ends repeated.   input (N, C, D, H, W) or (C, D, H, W); padding (left, right, top, bottom, front, back)."""

    directions = 3


class _CircularPad(_Pad):
    mode = "circular"


class CircularPad1d(_CircularPad):
    """The other end again, b c | a b c | a b.   input (N, C, W) or (C, W); padding (left, right), at most W."""

    directions = 1


class CircularPad2d(_CircularPad):
    """The other end again.   input (N, C, H, W) or (C, H, W); padding (left, right, top, bottom)."""

    directions = 2


class CircularPad3d(_CircularPad):
    """The other end again.   input (N, C, D, H, W) or (C, D, H, W); padding (left, right, top, bottom, front, back)."""

    directions = 3


_NAMES = {"constant": "constant", "reflect": "reflection", "replicate": "replication", "circular": "circular"}
_MODES = tuple(_NAMES)


def padded(who: Any, input: Tensor, padding: tuple[int, ...], mode: str, value: float = 0.0) -> Tensor:
    """The input padded, after checking that it can be."""
    _check(who, input, padding, mode)
    if mode == "constant":
        return functional.constant_pad(input, padding, value)
    if mode == "reflect":
        return functional.reflection_pad(input, padding)
    if mode == "replicate":
        return functional.replication_pad(input, padding)
    return functional.circular_pad(input, padding)


def padded_backward(grad: Tensor, input_shape: Any, padding: tuple[int, ...], mode: str) -> Tensor:
    if mode == "constant":
        return functional.constant_pad_backward(grad, padding)
    if mode == "reflect":
        return functional.reflection_pad_backward(grad, input_shape, padding)
    if mode == "replicate":
        return functional.replication_pad_backward(grad, input_shape, padding)
    return functional.circular_pad_backward(grad, padding)


def _check(who: Any, input: Tensor, padding: tuple[int, ...], mode: str) -> None:
    """Raise where the padding does not belong to the input, or there is nothing that it could be made of."""
    shape, directions = tuple(input.shape), len(padding) // 2
    given = f"{who} was given an input of shape {shape}: "
    if len(padding) % 2 or directions > len(shape):
        raise ValueError(f"{given}expected two numbers of padding for each of its last dimensions, got {padding}")
    if mode != "constant" and not (1 <= directions <= 3 and directions + 1 <= len(shape) <= directions + 2):
        raise ValueError(
            f"{given}expected {directions + 1} or {directions + 2} dimensions for the padding {padding}, "
            f"or one to three pairs of it: {mode!r} takes (C, ...) or (N, C, ...) and pads all but these"
        )
    for i in range(directions):
        size, before, after = shape[-1 - i], padding[2 * i], padding[2 * i + 1]
        left = size + min(before, 0) + min(after, 0)
        if (left < 0) if mode in ("constant", "circular") else (size + before + after < 1):
            raise ValueError(f"{given}the padding {padding} takes more away than it has in dimension {-1 - i}")
        most = {"reflect": size - 1, "circular": left}.get(mode)
        if most is not None and max(before, after) > most:
            raise ValueError(
                f"{given}the padding {padding} adds more than the {most} elements there are to add, by {mode!r}, "
                f"in dimension {-1 - i}"
            )

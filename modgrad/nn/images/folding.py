"""Layers that cut images into patches and sum patches up to images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from modgrad import functional
from modgrad.graph import Primitive
from modgrad.nn.arguments import pair

__all__ = ["Fold", "Unfold"]

Given = int | Sequence[int]


class _Patches(Primitive):
    """What both have: how the patches lie."""

    def __init__(self, kernel_size: Given, dilation: Given, padding: Given, stride: Given) -> None:
        super().__init__()
        self.kernel_size, self.dilation, self.padding, self.stride = kernel_size, dilation, padding, stride
        self._how()  # raises where one is neither a number nor a pair

    def _how(self) -> tuple[Any, ...]:
        return pair(self.kernel_size), pair(self.dilation), pair(self.padding), pair(self.stride)

    def _refused(self, input: Tensor, expected: str, error: RuntimeError | IndexError) -> ValueError:
        return ValueError(f"{self} was given an input of shape {tuple(input.shape)}: expected {expected}. {error}")

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, stride={self.stride}"


class Unfold(_Patches):
    """Cuts an image into patches, each a column.   input (N, C, H, W), output (N, C KH KW, L); both also without N.

    kernel_size, dilation, padding (with zeros), stride: one number or a pair (vertical, horizontal).
    """

    def __init__(self, kernel_size: Given, dilation: Given = 1, padding: Given = 0, stride: Given = 1) -> None:
        super().__init__(kernel_size, dilation, padding, stride)

    def forward(self, call: Any, input: Tensor) -> Tensor:
        call.size, call.how = input.shape[-2:], self._how()
        try:
            return functional.unfold(input, *call.how)
        except (RuntimeError, IndexError) as error:
            raise self._refused(input, "(N, C, H, W) or (C, H, W), no smaller than the kernel", error) from error

    def backward(self, call: Any, grad: Tensor) -> Tensor:
        return functional.unfold_backward(grad, call.size, *call.how)


class Fold(_Patches):
    """Sums patches, each a column, up to an image.   input (N, C KH KW, L), output (N, C, H, W); both also without N.

    The arguments are those of the Unfold that cuts such an image into as many patches; output_size is (H, W).
    """

    def __init__(
        self, output_size: Given, kernel_size: Given, dilation: Given = 1, padding: Given = 0, stride: Given = 1
    ) -> None:
        super().__init__(kernel_size, dilation, padding, stride)
        self.output_size = output_size
        pair(output_size)

    def forward(self, call: Any, input: Tensor) -> Tensor:
        call.how = self._how()
        try:
            return functional.fold(input, pair(self.output_size), *call.how)
        except (RuntimeError, IndexError) as error:
            raise self._refused(input, "(N, C KH KW, L) or (C KH KW, L)", error) from error

    def backward(self, call: Any, grad: Tensor) -> Tensor:
        return functional.fold_backward(grad, *call.how)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}, {super().extra_repr()}"

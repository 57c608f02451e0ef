"""What pooling layers share: the check of an input's shape, errors that name the layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar

from torch import Tensor

from modgrad.graph import Primitive
from modgrad.nn.arguments import SIDES, sizes

__all__: list[str] = []

R = TypeVar("R")
Sizes = int | Sequence[int]


def step(stride: Any, kernel_size: Any) -> Any:
    """The stride of windows; their size, if none is given, or an empty list, as PyTorch's own functions have it."""
    return kernel_size if stride is None or (isinstance(stride, (list, tuple)) and not stride) else stride


class Pooling(Primitive):
    """A layer over the last `dims` dimensions of its input, (N, C, ...) or (C, ...)."""

    dims: ClassVar[int]
    _settled: Any  # what `_settle` gave, until an attribute is set

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        self.__dict__["_settled"] = None

    def _sizes(self, name: str, least: int) -> tuple[int, ...]:
        """The attribute `name`, for each dimension."""
        value = getattr(self, name)
        several = sizes(value, self.dims, f"{type(self).__name__}({name})")
        if any(size < least for size in several):
            raise ValueError(f"{type(self).__name__}({name}={value!r}): expected numbers from {least} up")
        return several

    def _check(self, input: Tensor) -> None:
        if not 0 < input.dim() - self.dims < 3:
            sides = SIDES[self.dims]
            raise ValueError(
                f"{self} was given an input of shape {tuple(input.shape)}: expected (N, C, {sides}) or (C, {sides})"
            )

    def _by(self, function: Callable[..., R], input: Tensor, *options: Any) -> R:
        """`function(input, *options)`, with an error that says which layer it is of."""
        try:
            return function(input, *options)
        except RuntimeError as error:
            raise ValueError(
                f"{self} was given an input of shape {tuple(input.shape)} and {input.dtype}: {error}"
            ) from error

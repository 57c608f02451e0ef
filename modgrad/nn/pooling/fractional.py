"""Max pooling by windows that lie by chance."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from modgrad import functional
from modgrad.graph import Buffer
from modgrad.graph.mode import mode
from modgrad.nn.arguments import sizes
from modgrad.nn.pooling.base import Pooling, Sizes

__all__ = ["FractionalMaxPool2d", "FractionalMaxPool3d"]


class FractionalMaxPool(Pooling):
    """The largest value in each of output_size windows of kernel_size, which lie by chance.   Graham 2014.

    output_size: the output's sides; or output_ratio: how large they are beside the input's, from 0 to 1.
    return_indices: give also each value's place in its channel, counted row by row (int64).

    Where windows lie is drawn at each call, in evaluation too, for each channel of each sample: from torch's generator,
    as PyTorch draws it; inside `with Randomness(seed)` from that seed.
    """

    _random_samples: Tensor | None

    def __init__(
        self,
        kernel_size: Sizes,
        output_size: Sizes | None = None,
        output_ratio: Any = None,
        return_indices: bool = False,
        _random_samples: Tensor | None = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if (output_size is None) == (output_ratio is None):
            raise ValueError(f"{name}: expected output_size or output_ratio, and one of the two only")
        self.kernel_size = kernel_size
        self.kernel_size = self._sizes("kernel_size", 1)
        self.return_indices = return_indices
        self._random_samples = Buffer(_random_samples)  # type: ignore[assignment]
        self.output_size = None if output_size is None else sizes(output_size, self.dims, f"{name}(output_size)")
        self.output_ratio = None if output_ratio is None else sizes(output_ratio, self.dims, f"{name}(output_ratio)")
        if self.output_ratio is not None and not all(0 < ratio < 1 for ratio in self.output_ratio):
            raise ValueError(f"{name}(output_ratio={output_ratio}): expected numbers between 0 and 1")

    def forward(self, call: Any, input: Tensor) -> Any:
        self._check(input)
        size = self.output_size
        if size is None:
            sides = zip(input.shape[-self.dims :], self.output_ratio or (), strict=True)
            size = tuple(int(side * ratio) for side, ratio in sides)
        call.how = input.shape, self.kernel_size, size
        samples = self._random_samples if self._random_samples is not None else self._drawn(input)
        output, indices = self._by(functional.fractional_max_pool, input, self.kernel_size, size, samples)
        call.save(indices)
        return (output, indices) if self.return_indices else output

    def backward(self, call: Any, grad: Tensor, *of_indices: None) -> Tensor:
        (indices,) = call.saved
        return functional.fractional_max_pool_backward(grad, indices, *call.how)

    def _drawn(self, input: Tensor) -> Tensor:
        """A number for each sample (one, if there is no batch), channel and dimension."""
        batch = input.shape[0] if input.dim() == self.dims + 2 else 1
        shape = batch, input.shape[-self.dims - 1], self.dims
        if mode.randomness is None:
            return torch.rand(shape, dtype=input.dtype, device=input.device)
        key = functional.random_key(*mode.randomness.draw())
        return functional.fractional_samples(key, shape, input.dtype)


class FractionalMaxPool2d(FractionalMaxPool):
    __doc__ = (FractionalMaxPool.__doc__ or "").replace("2014.", "2014.\n\n    input (N, C, H, W) or (C, H, W).")
    autocast = "fractional_max_pool2d"
    dims: ClassVar[int] = 2


class FractionalMaxPool3d(FractionalMaxPool):
    __doc__ = (FractionalMaxPool.__doc__ or "").replace("2014.", "2014.\n\n    input (N, C, D, H, W) or (C, D, H, W).")
    autocast = "fractional_max_pool3d"
    dims: ClassVar[int] = 3

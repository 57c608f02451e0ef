"""Convolution layers, and transposed ones, in one to three dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from modgrad import functional
from modgrad.graph import Parameter, Primitive
from modgrad.nn import init
from modgrad.nn.arguments import SIDES, Numbers, one_for_each
from modgrad.nn.padding import padded, padded_backward

__all__ = ["Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"]

Given = int | Sequence[int]
_MODES = ("zeros", "reflect", "replicate", "circular")
Pads = tuple[Numbers, str] | None


def padded_first(who: str, padding: str, kernel: Numbers, stride: Numbers, dilation: Numbers) -> tuple[Numbers, Pads]:
    """What padding="same" or "valid" comes to: what goes on both sides; and what goes on the far side only, where
    "same" needs an odd number, as (before, after) of each dimension, the last one's first."""
    none = (0,) * len(kernel)
    if padding == "valid":
        return none, None
    if padding != "same":
        raise ValueError(f"{who}(padding={padding!r}): expected numbers, 'valid' or 'same'")
    if any(s != 1 for s in stride):
        raise ValueError(f"{who}(padding='same') keeps the size only for a stride of 1, got {stride}")
    total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    uneven = tuple(pad for t in reversed(total) for pad in (0, t % 2))
    return tuple(t // 2 for t in total), (uneven, "constant") if any(uneven) else None


def named(error: RuntimeError, who: Any, input: Tensor) -> RuntimeError:
    """The kernel's error, with whose it is before what it says. One of a class of its own, as out of memory, stays."""
    if type(error) is not RuntimeError:
        return error
    return RuntimeError(f"{who} was given an input of shape {tuple(input.shape)}: {error}")


class Convolving(Primitive):
    """What layers and functions share: a convolution, of an input that may have to be padded first.

    how: the numbers that the functions take after their tensors. pads: what is padded first, as (before, after) of each
    dimension, the last one's first, and by what mode; or None. Keeps the input, not the padded one.
    """

    autocast = "conv2d"  # of as many dimensions as there are, transposed or not: all are in one list
    functions: ClassVar[tuple[Any, Any, Any]] = (
        functional.convolution,
        functional.convolution_grad_input,
        functional.convolution_grad_weight,
    )

    def convolve(
        self, call: Any, input: Tensor, weight: Tensor, bias: Tensor | None, how: tuple[Any, ...], pads: Pads
    ) -> Tensor:
        call.laid = how, pads, input.shape, weight.shape
        if pads is not None:
            input = padded(self, input, *pads)
        output: Tensor = self.functions[0](input, weight, bias, *how)
        return output

    def input_gradient(self, call: Any, grad: Tensor, weight: Tensor) -> Tensor:
        how, pads, shape, _ = call.laid
        single = grad.dim() < weight.dim()
        if single:
            grad, shape = grad.unsqueeze(0), (1, *shape)
        gradient: Tensor = self.functions[1](grad, _padded_shape(shape, pads), weight, *how)
        if pads is not None:
            gradient = padded_backward(gradient, shape, *pads)
        return gradient.squeeze(0) if single else gradient

    def weight_gradient(self, call: Any, grad: Tensor, input: Tensor) -> Tensor:
        how, pads, _, shape = call.laid
        if pads is not None:
            input = padded(self, input, *pads)
        if grad.dim() < len(shape):
            grad, input = grad.unsqueeze(0), input.unsqueeze(0)
        gradient: Tensor = self.functions[2](grad, input, shape, *how)
        return gradient

    def bias_gradient(self, call: Any, grad: Tensor) -> Tensor:
        return functional.convolution_grad_bias(grad.unsqueeze(0) if grad.dim() < len(call.laid[3]) else grad)


def _padded_shape(shape: Sequence[int], pads: Pads) -> Sequence[int]:
    """The shape of what has `shape` before it is padded."""
    if pads is None:
        return shape
    more = [before + after for before, after in zip(pads[0][-2::-2], pads[0][::-2], strict=True)]
    first = len(shape) - len(more)
    return *shape[:first], *(size + m for size, m in zip(shape[first:], more, strict=True))


class _Layer(Convolving):
    """The arguments that all layers have, and the gradients of their parameters."""

    dimensions: ClassVar[int]
    transposed: ClassVar[bool] = False
    weight: Parameter
    bias: Parameter | None
    padding: Numbers | str

    def _set_up(
        self,
        channels: tuple[int, int],
        kernel_size: Given,
        stride: Given,
        padding: Given | str,
        output_padding: Given,
        dilation: Given,
        groups: int,
        bias: bool,
        padding_mode: str,
        device: Any,
        dtype: Any,
    ) -> None:
        name, n = type(self).__name__, self.dimensions
        self.in_channels, self.out_channels = channels
        if groups < 1 or channels[0] % groups or channels[1] % groups:
            raise ValueError(
                f"{name}({channels[0]}, {channels[1]}, groups={groups}): in_channels and out_channels must both be "
                "divisible by groups"
            )
        self.kernel_size, self.stride = one_for_each(kernel_size, n), one_for_each(stride, n)
        self.padding = padding if isinstance(padding, str) else one_for_each(padding, n)
        self.dilation, self.output_padding = one_for_each(dilation, n), one_for_each(output_padding, n)
        self.groups, self.padding_mode = groups, padding_mode
        first, second = channels if self.transposed else channels[::-1]
        shape = (first, second // groups, *self.kernel_size)
        self.weight = Parameter(torch.empty(shape, device=device, dtype=dtype))
        values = Parameter(torch.empty(channels[1], device=device, dtype=dtype)) if bias else None
        self.register_parameter("bias", values)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        weight = self.weight.data
        if weight.is_contiguous():
            init.linear_and_bias_(weight, self.bias)
            return
        contiguous = torch.empty_like(weight, memory_format=torch.contiguous_format)  # the same numbers in any layout
        init.linear_and_bias_(contiguous, self.bias)
        weight.copy_(contiguous)

    def backward(self, call: Any, grad: Tensor) -> Tensor:
        return self.input_gradient(call, grad, call.saved[1])

    def parameter_gradients(self, call: Any, grad: Tensor) -> dict[str, Tensor | None]:
        gradients: dict[str, Tensor | None] = {}
        if call.wants("weight"):
            gradients["weight"] = self.weight_gradient(call, grad, call.saved[0])
        if call.wants("bias"):
            gradients["bias"] = self.bias_gradient(call, grad)
        return gradients

    def _explained(self, input: Tensor) -> Exception | None:
        n, channels = self.dimensions, self.in_channels
        if input.dim() not in (n + 1, n + 2) or input.shape[-n - 1] != channels:
            return ValueError(
                f"{self} was given an input of shape {tuple(input.shape)}: "
                f"expected (N, {channels}, {SIDES[n]}) or ({channels}, {SIDES[n]})"
            )
        if input.dtype != self.weight.dtype:
            dtype = self.weight.dtype
            return TypeError(
                f"{self} has parameters of {dtype} and was given an input of {input.dtype}: write input.to({dtype})"
            )
        return None

    def extra_repr(self) -> str:
        parts = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"]
        none, ones = (0,) * self.dimensions, (1,) * self.dimensions
        for name, usual in [("padding", none), ("dilation", ones), ("output_padding", none), ("groups", 1)]:
            if getattr(self, name) != usual:
                parts.append(f"{name}={getattr(self, name)}")
        if self.bias is None:
            parts.append("bias=False")
        if self.padding_mode != "zeros":
            parts.append(f"padding_mode={self.padding_mode}")
        return ", ".join(parts)


class _Convolution(_Layer):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Given,
        stride: Given = 1,
        padding: Given | str = 0,
        dilation: Given = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if padding_mode not in _MODES:
            expected = ", ".join(map(repr, _MODES))
            raise ValueError(f"{name}(padding_mode={padding_mode!r}): expected one of {expected}")
        channels = in_channels, out_channels
        rest = groups, bias, padding_mode, device, dtype
        self._set_up(channels, kernel_size, stride, padding, 0, dilation, *rest)
        if isinstance(padding, str):
            padded_first(name, padding, self.kernel_size, self.stride, self.dilation)

    def forward(self, call: Any, input: Tensor) -> Tensor:
        stride, padding, dilation = self.stride, self.padding, self.dilation
        how: Any = stride, padding, dilation, self.groups
        pads: Pads = None
        if not (type(stride) is type(padding) is type(dilation) is tuple) or self.padding_mode != "zeros":
            how, pads = self._worked_out()
        weight = self.weight
        call.save(input if "weight" in call.parameters else None, weight if call.wanted else None)
        try:
            return self.convolve(call, input, weight, self.bias, how, pads)
        except RuntimeError as error:
            raise self._explained(input) or named(error, self, input) from error

    def _worked_out(self) -> tuple[tuple[Any, ...], Pads]:
        """The convolution's numbers and what is padded first, from attributes in any form, set since too."""
        n, padding = self.dimensions, self.padding
        stride, dilation = one_for_each(self.stride, n), one_for_each(self.dilation, n)
        pads: Pads = None
        if isinstance(padding, str):
            padding, pads = padded_first(type(self).__name__, padding, self.kernel_size, stride, dilation)
        else:
            padding = one_for_each(padding, n)
        if self.padding_mode != "zeros":  # which the convolution itself does not know
            uneven = (0,) * n if pads is None else pads[0][1::2]
            numbers = tuple(i for p, u in zip(reversed(padding), uneven, strict=True) for i in (p, p + u))
            padding, pads = (0,) * n, (numbers, self.padding_mode) if any(numbers) else None
        return (stride, padding, dilation, self.groups), pads


class Conv1d(_Convolution):
    """y = x * w + b, the cross-correlation of sequences x with kernels w.

    x (N, in_channels, L) or (in_channels, L); weight (out_channels, in_channels / groups, kernel_size); bias
    (out_channels). stride, padding, dilation: numbers; padding also "valid" (none) or "same" (as much as keeps the
    size, for a stride of 1). padding_mode: what is read beyond the ends: "zeros", "reflect", "replicate" or "circular".
    """

    dimensions = 1


class Conv2d(_Convolution):
    """y = x * w + b, the cross-correlation of images x with kernels w.

    x (N, in_channels, H, W) or (in_channels, H, W); weight (out_channels, in_channels / groups, kernel height, width);
    bias (out_channels). stride, padding, dilation: one number or a pair (vertical, horizontal); padding also "valid"
    (none) or "same" (as much as keeps the size, for a stride of 1). padding_mode: what is read beyond the edges:
    "zeros", "reflect", "replicate" or "circular".
    """

    dimensions = 2


class Conv3d(_Convolution):
    """y = x * w + b, the cross-correlation of volumes x with kernels w.

    x (N, in_channels, D, H, W) or (in_channels, D, H, W); weight (out_channels, in_channels / groups, kernel depth,
    height, width); bias (out_channels). The arguments are those of Conv2d, numbers or triples.
    """

    dimensions = 3


class _TransposedConvolution(_Layer):
    transposed = True
    functions = (
        functional.transposed_convolution,
        functional.transposed_convolution_grad_input,
        functional.transposed_convolution_grad_weight,
    )

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Given,
        stride: Given = 1,
        padding: Given = 0,
        output_padding: Given = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Given = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if padding_mode != "zeros":
            raise ValueError(f"{type(self).__name__}(padding_mode={padding_mode!r}): its padding is 'zeros' only")
        if isinstance(padding, str):
            raise ValueError(f"{type(self).__name__}(padding={padding!r}): expected numbers")
        channels = in_channels, out_channels
        rest = groups, bias, padding_mode, device, dtype
        self._set_up(channels, kernel_size, stride, padding, output_padding, dilation, *rest)

    def forward(self, call: Any, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        n = self.dimensions
        numbers = [one_for_each(x, n) for x in (self.stride, self.padding, self.dilation)]
        output_padding = one_for_each(self.output_padding, n)
        if output_size is not None:
            output_padding = self._output_padding(input, output_size, *numbers)
        weight = self.weight
        call.save(input if "weight" in call.parameters else None, weight if call.wanted else None)
        try:
            how = *numbers, self.groups, output_padding
            return self.convolve(call, input, weight, self.bias, how, None)
        except RuntimeError as error:
            raise self._explained(input) or named(error, self, input) from error

    def _output_padding(
        self, input: Tensor, output_size: Sequence[int], stride: Numbers, padding: Numbers, dilation: Numbers
    ) -> Numbers:
        """The output padding that gives an output of `output_size`, given with batch and channels or without."""
        n = self.dimensions
        explained = self._explained(input)
        if explained is not None:
            raise explained
        if len(output_size) not in (n, input.dim()):
            raise ValueError(
                f"{self} was given output_size={tuple(output_size)}: expected {n} numbers ({SIDES[n]}), or "
                f"{input.dim()} for an input of shape {tuple(input.shape)}"
            )
        asked = output_size[-n:]
        geometry = zip(input.shape[-n:], stride, padding, dilation, self.kernel_size, strict=True)
        least = [(size - 1) * s - 2 * p + d * (k - 1) + 1 for size, s, p, d, k in geometry]
        most = [low + s - 1 for low, s in zip(least, stride, strict=True)]
        if not all(low <= size <= high for low, size, high in zip(least, asked, most, strict=True)):
            raise ValueError(
                f"{self} was given output_size={tuple(output_size)}: for an input of shape {tuple(input.shape)} it can "
                f"be from {tuple(least)} to {tuple(most)}"
            )
        return tuple(size - low for size, low in zip(asked, least, strict=True))


class ConvTranspose1d(_TransposedConvolution):
    """What a Conv1d does to its gradient: each value of the input, times w, put on the places that the kernel covers.

    x (N, in_channels, L) or (in_channels, L); weight (in_channels, out_channels / groups, kernel_size); bias
    (out_channels). The output has (L - 1) stride - 2 padding + dilation (kernel_size - 1) + 1 + output_padding places.
    output_size, given with the input, says how long it is to be instead of output_padding.
    """

    dimensions = 1


class ConvTranspose2d(_TransposedConvolution):
    """What a Conv2d does to its gradient: each value of the input, times w, put on the places that the kernel covers.

    x (N, in_channels, H, W) or (in_channels, H, W); weight (in_channels, out_channels / groups, kernel height, width);
    bias (out_channels). Numbers or pairs (vertical, horizontal); sizes as in ConvTranspose1d.
    """

    dimensions = 2


class ConvTranspose3d(_TransposedConvolution):
    """What a Conv3d does to its gradient: each value of the input, times w, put on the places that the kernel covers.

    x (N, in_channels, D, H, W) or (in_channels, D, H, W); weight (in_channels, out_channels / groups, kernel depth,
    height, width); bias (out_channels). Numbers or triples; sizes as in ConvTranspose1d.
    """

    dimensions = 3

"""Convolution layers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from modgrad import functional
from modgrad.graph import Parameter, Primitive
from modgrad.nn import init
from modgrad.nn.arguments import Pair, pair

__all__ = ["Conv2d"]


class Conv2d(Primitive):
    """y = x * w + b, the cross-correlation of images x with kernels w.

    x (N, C, H, W) or (C, H, W); weight (out_channels, in_channels / groups, kernel height, width); bias (out_channels).
    stride, padding, dilation: one number or a pair (vertical, horizontal); padding also "valid" (none) or "same" (as
    much as keeps the size, for a stride of 1), with zeros.
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair | str = 0,
        dilation: int | Pair = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(
                f"Conv2d({in_channels}, {out_channels}, groups={groups}): in_channels and out_channels must both be "
                "divisible by groups"
            )
        if padding_mode != "zeros":
            raise ValueError(f"Conv2d(padding_mode={padding_mode!r}): only 'zeros' is there in this version")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size, self.stride, self.dilation = pair(kernel_size), pair(stride), pair(dilation)
        self.padding = padding if isinstance(padding, str) else pair(padding)
        self.padding_mode = padding_mode
        self._before, self._uneven = self._paddings()
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        self.weight = Parameter(torch.empty(shape, device=device, dtype=dtype))
        self.register_parameter(
            "bias", Parameter(torch.empty(out_channels, device=device, dtype=dtype)) if bias else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        init.linear_and_bias_(self.weight, self.bias)

    def _paddings(self) -> tuple[Pair, Pair]:
        """Zeros on both sides; and those that go on the far side only, where "same" needs an odd number."""
        if self.padding == "valid":
            return (0, 0), (0, 0)
        if self.padding != "same":
            if isinstance(self.padding, str):
                raise ValueError(f"Conv2d(padding={self.padding!r}): expected numbers, 'valid' or 'same'")
            return self.padding, (0, 0)
        if self.stride != (1, 1):
            raise ValueError(f"Conv2d(padding='same') keeps the size only for a stride of 1, got {self.stride}")
        total = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True)]
        return (total[0] // 2, total[1] // 2), (total[0] % 2, total[1] % 2)

    def forward(self, call: Any, input: Tensor) -> Tensor:
        if input.dim() not in (3, 4) or input.shape[-3] != self.in_channels:
            raise ValueError(
                f"{self} was given an input of shape {tuple(input.shape)}: "
                f"expected (N, {self.in_channels}, H, W) or ({self.in_channels}, H, W)"
            )
        call.single = input.dim() == 3
        if call.single:
            input = input.unsqueeze(0)
        if any(self._uneven):
            input = torch.constant_pad_nd(input, [0, self._uneven[1], 0, self._uneven[0]])
        call.save(input if call.wants("weight") else None, self.weight)
        call.input_shape = input.shape
        output = functional.conv2d(input, self.weight, self.bias, self.stride, self._before, self.dilation, self.groups)
        return output.squeeze(0) if call.single else output

    def backward(self, call: Any, grad: Tensor) -> Tensor:
        _, weight = call.saved
        if call.single:
            grad = grad.unsqueeze(0)
        grad_input = functional.conv2d_grad_input(
            grad, call.input_shape, weight, self.stride, self._before, self.dilation, self.groups
        )
        down, right = self._uneven
        if down or right:
            height, width = call.input_shape[2:]
            grad_input = grad_input[:, :, : height - down, : width - right]
        return grad_input.squeeze(0) if call.single else grad_input

    def parameter_gradients(self, call: Any, grad: Tensor) -> dict[str, Tensor | None]:
        input, weight = call.saved
        if call.single:
            grad = grad.unsqueeze(0)
        gradients: dict[str, Tensor | None] = {}
        if call.wants("weight"):
            gradients["weight"] = functional.conv2d_grad_weight(
                grad, input, weight.shape, self.stride, self._before, self.dilation, self.groups
            )
        if call.wants("bias"):
            gradients["bias"] = functional.conv2d_grad_bias(grad)
        return gradients

    def extra_repr(self) -> str:
        parts = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"]
        if self.padding != (0, 0):
            parts.append(f"padding={self.padding!r}")
        if self.dilation != (1, 1):
            parts.append(f"dilation={self.dilation}")
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        if self.bias is None:
            parts.append("bias=False")
        return ", ".join(parts)

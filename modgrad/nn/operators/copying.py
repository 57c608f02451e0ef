"""Operators that copy Variables, convert them, or leave them as they are."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from modgrad.graph import Primitive
from modgrad.graph.dispatch import on_plain_values, operator

_T: Any = Tensor


class Copy(Primitive):
    """The same values in memory of their own, in another dtype or on another device."""

    def forward(self, call: Any, input: Tensor, dtype: torch.dtype | None, device: Any, format: Any) -> Tensor:
        call.dtype, call.device = input.dtype, input.device
        return input.to(dtype=dtype or input.dtype, device=device, copy=True, memory_format=format)

    def backward(self, call: Any, grad: Tensor) -> Tensor:
        return grad.to(dtype=call.dtype, device=call.device)


_COPY = Copy()


@operator(torch.clone, _T.clone)
def _clone(input: Any, *, memory_format: Any = torch.preserve_format) -> Any:
    return _COPY(input, None, input.device, memory_format)


@operator(_T.contiguous)
def _contiguous(input: Any, memory_format: Any = torch.contiguous_format) -> Any:
    return input if input.is_contiguous(memory_format=memory_format) else _clone(input, memory_format=memory_format)


@operator(
    *(torch.conj, _T.conj, torch.conj_physical, _T.conj_physical, torch.resolve_conj, _T.resolve_conj),
    *(torch.resolve_neg, _T.resolve_neg, torch.real, _T.real.__get__, torch.positive, _T.positive, _T.__pos__),
)
def _unchanged(input: Any) -> Any:
    return input


@operator(_T.to)
def _to(input: Any, *args: Any, **kwargs: Any) -> Any:
    copy = kwargs.pop("copy", False)
    if args and isinstance(args[0], Tensor):
        args = (args[0].device, args[0].dtype, *args[1:])
    if args and isinstance(args[-1], bool):  # ..., non_blocking, copy
        last = 2 if isinstance(args[0], torch.dtype) else 3
        args, copy = (args[:last], args[last]) if len(args) > last else (args, copy)
    device, dtype, _, memory_format = torch._C._nn._parse_to(*args, **kwargs)
    same = (dtype in (None, input.dtype)) and (device in (None, input.device))
    if same and not copy and memory_format is None:
        return input
    if dtype is not None and not (dtype.is_floating_point or dtype.is_complex):
        return input.detach().to(dtype)
    return _COPY(input, dtype, device or input.device, memory_format or torch.preserve_format)


def _converts(dtype: torch.dtype) -> Any:
    def convert(input: Any, memory_format: Any = None) -> Any:
        return _to(input, dtype, memory_format=memory_format)

    return convert


for _method, _dtype in [
    (_T.float, torch.float32),
    (_T.double, torch.float64),
    (_T.half, torch.float16),
    (_T.bfloat16, torch.bfloat16),
]:
    operator(_method)(_converts(_dtype))


@operator(_T.type)
def _type(input: Any, dtype: Any = None, non_blocking: bool = False) -> Any:
    if dtype is None:
        return on_plain_values(_T.type, (input,), {})
    return _to(input, dtype if isinstance(dtype, torch.dtype) else torch.empty(0).type(dtype).dtype)


@operator(_T.type_as)
def _type_as(input: Any, other: Tensor) -> Any:
    return _to(input, other.dtype)


@operator(_T.cpu)
def _cpu(input: Any, memory_format: Any = None) -> Any:
    return _to(input, "cpu", memory_format=memory_format)


@operator(_T.cuda)
def _cuda(input: Any, device: Any = "cuda", non_blocking: bool = False) -> Any:
    return _to(input, torch.device("cuda", device) if isinstance(device, int) else torch.device(device))

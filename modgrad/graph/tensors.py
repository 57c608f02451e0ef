"""All tensors of a module at once, converted."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from modgrad.graph.variable import Parameter

if TYPE_CHECKING:
    from modgrad.graph.module import Module

_plainly = torch._C.DisableTorchFunctionSubclass
Conversion = Callable[[Tensor], Tensor]


def conversion(*args: Any, **kwargs: Any) -> Conversion:
    """What `Module.to` does to each tensor, from its arguments."""
    device, dtype, non_blocking, memory_format = torch._C._nn._parse_to(*args, **kwargs)
    dimensions = {torch.channels_last: (4,), torch.channels_last_3d: (5,)}.get(memory_format, (4, 5))
    if dtype is not None and not dtype.is_floating_point:
        raise TypeError(f"to({dtype}): parameters need a floating-point dtype")

    def convert(t: Tensor) -> Tensor:
        form = memory_format if memory_format and t.dim() in dimensions else torch.preserve_format
        return t.to(device, dtype if t.is_floating_point() else None, non_blocking, memory_format=form)

    return convert


def convert(modules: Iterable[Module], function: Conversion) -> None:
    """Put every tensor through `function`. Parameters stay the same objects, as optimizers hold them, wherever a tensor
    can take the new data; towards device meta and from there it cannot."""
    done: dict[int, Any] = {}
    with _plainly():
        for module in modules:
            own = module.__dict__
            for name in (*module._parameter_names, *module._buffer_names):
                value = own[name]
                if value is None:
                    continue
                if id(value) not in done:
                    done[id(value)] = _converted(value, function), value  # the old one too: its id must stay its own
                own[name] = done[id(value)][0]


def _converted(value: Tensor, function: Conversion) -> Tensor:
    if not isinstance(value, Parameter):
        return function(value)
    data = function(value.data)
    if not torch._has_compatible_shallow_copy_type(value, data):
        return Parameter(data, value.grad_f)
    gradient, value.grad = value.grad, None
    value.data = data
    value.grad = None if gradient is None else function(gradient)
    return value

"""Module: the base class. Parameters, buffers and sub-modules register by assignment; a composite only has forward.

Their values live where every attribute lives, in the instance's `__dict__`, so that a layer reads `self.weight` at
full speed; three ordered sets of names say which attribute is what.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from modgrad.graph import errors
from modgrad.graph.call import is_variable
from modgrad.graph.mode import mode
from modgrad.graph.variable import Parameter

_plainly = torch._C.DisableTorchFunctionSubclass
M = TypeVar("M", bound="Module")

call_recomputed: Any = None  # calls a module that is marked; `recompute` tells


class Buffer:
    """Assigned to a module's attribute, registers `data` as a buffer: a tensor that is state but not trained."""

    def __init__(self, data: Tensor | None, persistent: bool = True) -> None:
        self.data = data
        self.persistent = persistent  # whether it belongs to the state_dict


class Incompatible(NamedTuple):
    """What `load_state_dict` found missing and unexpected."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module:
    """Base class of everything that is called in a model.

    >>> from modgrad import nn
    >>> class Residual(nn.Module):
    ...     def __init__(self, width):
    ...         super().__init__()
    ...         self.inner = nn.Linear(width, width)
    ...
    ...     def forward(self, x):
    ...         return x + self.inner(x).relu()
    >>> Residual(4)
    Residual(
      (inner): Linear(in_features=4, out_features=4, bias=True)
    )
    """

    training: bool
    _recomputed = False  # whether marked by `nn.recompute`
    _parameter_names: dict[str, None]
    _buffer_names: dict[str, bool]  # name -> persistent
    _module_names: dict[str, None]

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:  # here, so that a forgotten super().__init__() does no harm
        module = super().__new__(cls)
        module.__dict__.update(training=True, _parameter_names={}, _buffer_names={}, _module_names={})
        return module

    def __init__(self) -> None:
        pass

    def forward(self, *inputs: Any) -> Any:
        raise RuntimeError(f"{type(self).__name__} has no forward: write def forward(self, ...)")

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        if self._recomputed:
            return call_recomputed(self, inputs, named)
        return self.forward(*inputs, **named)

    # Registration

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Parameter):
            self._become(name, self._parameter_names, None)
        elif isinstance(value, Module):
            self._become(name, self._module_names, None)
        elif isinstance(value, Buffer):
            self._become(name, self._buffer_names, value.persistent)
            value = value.data
        elif name in self._parameter_names and value is not None:
            raise TypeError(
                f"{type(self).__name__}.{name} is a Parameter and was assigned {errors.describe(value)}: write "
                f"module.{name} = nn.Parameter(tensor) to replace it, module.{name}.data.copy_(tensor) to change it"
            )
        elif name in self._module_names and value is not None:
            raise TypeError(f"{type(self).__name__}.{name} is a module and was assigned {errors.describe(value)}")
        elif name in self._buffer_names and not (value is None or type(value) is Tensor or mode.tracing):
            raise TypeError(
                f"{type(self).__name__}.{name} is a buffer and was assigned {errors.describe(value)}: "
                "assign a plain tensor or None"
            )
        elif isinstance(value, Tensor):
            errors.refuse_autograd(value, f"{type(self).__name__}.{name}")
        super().__setattr__(name, value)  # a property's setter, or the instance's __dict__

    def _become(self, name: str, names: dict[str, Any], entry: Any) -> None:
        """Enter `name` in one of the three sets, and in no other."""
        if "." in name or not name:
            raise KeyError(f"the name {name!r} of a parameter, buffer or module must not be empty or contain a dot")
        if name not in self.__dict__ and hasattr(type(self), name):
            raise KeyError(f"{type(self).__name__} has an attribute {name!r} already: choose another name")
        for other in (self._parameter_names, self._buffer_names, self._module_names):
            if other is not names:
                other.pop(name, None)
        names[name] = entry

    def __delattr__(self, name: str) -> None:
        for names in (self._parameter_names, self._buffer_names, self._module_names):
            names.pop(name, None)
        super().__delattr__(name)

    def register_parameter(self, name: str, parameter: Parameter | None) -> None:
        """Register under `name`; None keeps the name for a parameter that this module does without."""
        if parameter is not None and not isinstance(parameter, Parameter):
            raise TypeError(f"register_parameter({name!r}): expected nn.Parameter, got {errors.describe(parameter)}")
        self._become(name, self._parameter_names, None)
        self.__dict__[name] = parameter

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Register a tensor that is state but not trained; in the state_dict if `persistent`."""
        if tensor is not None and (not isinstance(tensor, Tensor) or is_variable(tensor)):
            raise TypeError(f"register_buffer({name!r}): expected a plain tensor, got {errors.describe(tensor)}")
        setattr(self, name, Buffer(tensor, persistent))

    def add_module(self, name: str, module: Module | None) -> None:
        """Register a sub-module under `name`."""
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"{type(self).__name__}: expected an nn.Module as {name!r}, got {errors.describe(module)}")
        self._become(name, self._module_names, None)
        self.__dict__[name] = module

    register_module = add_module

    # Looking through

    def named_children(self) -> Iterator[tuple[str, Module]]:
        seen: set[int] = set()
        for name in self._module_names:
            module = self.__dict__[name]
            if module is not None and id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def children(self) -> Iterator[Module]:
        return (module for _, module in self.named_children())

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """This module as `prefix`, then every module below it by dotted name, each once unless told otherwise."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name in self._module_names:
            module = self.__dict__[name]
            if module is not None:
                yield from module.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def modules(self) -> Iterator[Module]:
        return (module for _, module in self.named_modules())

    def _named_members(
        self, names: str, prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        owners = self.named_modules(None, prefix, remove_duplicate) if recurse else [(prefix, self)]
        for path, module in owners:
            for name in getattr(module, names):
                value = module.__dict__[name]
                if value is None or id(value) in seen:
                    continue
                if remove_duplicate:
                    seen.add(id(value))
                yield (f"{path}.{name}" if path else name), value

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Dotted name and parameter; one that is tied appears once, under its first name."""
        return self._named_members("_parameter_names", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        return self._named_members("_buffer_names", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def get_submodule(self, target: str) -> Module:
        """The module at a dotted path; '' is this one."""
        module = self
        for name in target.split(".") if target else []:
            if name not in module._module_names:
                raise AttributeError(f"{type(module).__name__} has no sub-module {name!r} (looking for {target!r})")
            module = module.__dict__[name]
        return module

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at a dotted path."""
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if name not in module._parameter_names:
            raise AttributeError(f"{type(module).__name__} has no parameter {name!r} (looking for {target!r})")
        return module.__dict__[name]

    # Saved state

    def _state(self) -> Iterator[tuple[str, Tensor]]:
        for path, module in self.named_modules(remove_duplicate=False):
            names = [*module._parameter_names, *(n for n, persistent in module._buffer_names.items() if persistent)]
            for name in names:
                value = module.__dict__[name]
                if value is not None:
                    yield (f"{path}.{name}" if path else name), value

    def state_dict(self, prefix: str = "") -> dict[str, Tensor]:
        """Every parameter and persistent buffer by dotted name, as plain tensors that share storage with them."""
        with _plainly():
            return {prefix + name: value.detach() for name, value in self._state()}

    def load_state_dict(self, state_dict: Mapping[str, Tensor], strict: bool = True) -> Incompatible:
        """Copy values in by name. Everything is checked before anything is changed.

        strict: whether missing or unexpected names raise. A shape that differs always raises.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"load_state_dict: expected a mapping of names to tensors, got {type(state_dict).__name__}")
        own = dict(self._state())
        missing = [name for name in own if name not in state_dict]
        unexpected = [name for name in state_dict if name not in own]
        problems = []
        if strict and missing:
            problems.append(f"missing: {', '.join(missing)}")
        if strict and unexpected:
            problems.append(f"unexpected: {', '.join(unexpected)}")
        for name, value in own.items():
            given = state_dict.get(name, value)
            if not isinstance(given, Tensor):
                problems.append(f"{name}: expected a tensor, got {type(given).__name__}")
            elif given.shape != value.shape:
                problems.append(f"{name}: has shape {tuple(value.shape)}, was given {tuple(given.shape)}")
        if problems:
            hint = " (strict=False passes over missing and unexpected names)" if strict else ""
            raise RuntimeError(f"load_state_dict of {type(self).__name__}{hint}:\n  " + "\n  ".join(problems))
        with _plainly(), torch.no_grad():
            for name, value in own.items():
                if name in state_dict:
                    value.copy_(state_dict[name])
        return Incompatible(missing, unexpected)

    # Changing all at once

    def train(self: M, mode: bool = True) -> M:
        """Set `training` here and below: whether BatchNorm uses the batch's own statistics, and the like."""
        self.training = mode
        for child in self.children():
            child.train(mode)  # which may be a method of its own, as one that keeps a BatchNorm in evaluation
        return self

    def eval(self: M) -> M:
        return self.train(False)

    def freeze(self: M) -> M:
        """grad_f = False on every parameter: none gets a gradient, none is updated."""
        for parameter in self.parameters():
            parameter.grad_f = False
        return self

    def unfreeze(self: M) -> M:
        """grad_f = True on every parameter."""
        for parameter in self.parameters():
            parameter.grad_f = True
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients; or, if not `set_to_none`, fill them with zeros."""
        with _plainly():
            for parameter in self.parameters():
                if set_to_none:
                    parameter.grad = None
                elif parameter.grad is not None:
                    parameter.grad = torch.zeros_like(parameter.grad)

    def apply(self: M, function: Callable[[Module], Any]) -> M:
        """Call `function` on every module below and then on this one, as for initialisation."""
        for module in self.children():
            module.apply(function)
        function(self)
        return self

    def _convert(self: M, function: Callable[[Tensor], Tensor]) -> M:
        """Put every tensor through `function`. Parameters stay the same objects, as optimizers hold them, wherever a
        tensor can take the new data; towards device meta it cannot."""
        done: dict[int, Any] = {}
        with _plainly():
            for module in self.modules():
                own = module.__dict__
                for name in (*module._parameter_names, *module._buffer_names):
                    value = own[name]
                    if value is None:
                        continue
                    if id(value) not in done:
                        done[id(value)] = (
                            _converted(value, function),
                            value,
                        )  # the old one too: its id must stay its own
                    own[name] = done[id(value)][0]
        return self

    def to(self: M, *args: Any, **kwargs: Any) -> M:
        """Move to a device and convert floating-point tensors to a dtype: to(device), to(dtype), to(device, dtype).

        memory_format: of the tensors with as many dimensions as it is for, as to(memory_format=torch.channels_last).
        """
        device, dtype, non_blocking, memory_format = torch._C._nn._parse_to(*args, **kwargs)
        dimensions = {torch.channels_last: (4,), torch.channels_last_3d: (5,)}.get(memory_format, (4, 5))
        if dtype is not None and not dtype.is_floating_point:
            raise TypeError(f"to({dtype}): parameters need a floating-point dtype")

        def convert(t: Tensor) -> Tensor:
            form = memory_format if memory_format and t.dim() in dimensions else torch.preserve_format
            return t.to(device, dtype if t.is_floating_point() else None, non_blocking, memory_format=form)

        return self._convert(convert)

    def float(self: M) -> M:
        return self.to(torch.float32)

    def double(self: M) -> M:
        return self.to(torch.float64)

    def half(self: M) -> M:
        return self.to(torch.float16)

    def bfloat16(self: M) -> M:
        return self.to(torch.bfloat16)

    def cpu(self: M) -> M:
        return self.to("cpu")

    def cuda(self: M, device: Any = "cuda") -> M:
        return self.to(torch.device("cuda", device) if isinstance(device, int) else device)

    # Reading

    def extra_repr(self) -> str:
        """The arguments between the parentheses of `repr`."""
        return ""

    def __repr__(self) -> str:
        lines = []
        for name in self._module_names:
            lines.append(f"  ({name}): " + repr(self.__dict__[name]).replace("\n", "\n  "))
        name, extra, marked = type(self).__name__, self.extra_repr(), " [recomputed]" * self._recomputed
        if not lines:
            return f"{name}({extra}){marked}"
        return "\n".join([f"{name}({extra}", *lines, f"){marked}"])


def _converted(value: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    if not isinstance(value, Parameter):
        return function(value)
    data = function(value.data)
    if not torch._has_compatible_shallow_copy_type(value, data):
        return Parameter(data, value.grad_f)
    gradient, value.grad = value.grad, None
    value.data = data
    value.grad = None if gradient is None else function(gradient)
    return value

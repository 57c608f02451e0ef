"""Module: the base class. Parameters, buffers and sub-modules register by assignment; a composite only has forward.

Their values live where every attribute lives, in the instance's `__dict__`, so that a layer reads `self.weight` at
full speed; three ordered sets of names say which attribute is what.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from modgrad.graph import errors, state
from modgrad.graph.call import is_variable
from modgrad.graph.hooks import THERE, Hook, Hooks, RemovableHandle, due, register
from modgrad.graph.hooks import call as call_with_hooks
from modgrad.graph.mode import mode
from modgrad.graph.tensors import conversion, convert
from modgrad.graph.variable import Parameter

_plainly = torch._C.DisableTorchFunctionSubclass
M = TypeVar("M", bound="Module")

call_recomputed: Any = None  # calls a module that is marked; `recompute` tells


class Buffer:
    """Assigned to a module's attribute, registers `data` as a buffer: a tensor that is state but not trained."""

    def __init__(self, data: Tensor | None, persistent: bool = True) -> None:
        self.data = data
        self.persistent = persistent  # whether it belongs to the state_dict


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
    _hooks: Hooks | None = None
    _added_to_state: ClassVar[dict[str, int]] = {}  # what PyTorch's layer saves only since this version of itself
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
        if THERE and due(self):
            return call_with_hooks(self, inputs, named)
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
        return self._member(target, "_parameter_names", "parameter")

    def get_buffer(self, target: str) -> Tensor:
        """The buffer at a dotted path."""
        return self._member(target, "_buffer_names", "buffer")

    def _member(self, target: str, names: str, kind: str) -> Any:
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if name not in getattr(module, names):
            raise AttributeError(f"{type(module).__name__} has no {kind} {name!r} (looking for {target!r})")
        return module.__dict__[name]

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Put `module` at a dotted path, in the place of what is there.

        strict: raise if nothing is there yet.
        """
        path, _, name = target.rpartition(".")
        owner = self.get_submodule(path)
        if strict and name not in owner._module_names:
            raise AttributeError(f"{type(owner).__name__} has no sub-module {name!r} (looking for {target!r})")
        owner.add_module(name, module)

    # Saved state

    def state_dict(
        self, *, destination: Any = None, prefix: str = "", keep_vars: bool = False
    ) -> OrderedDict[str, Tensor]:
        """Every parameter and persistent buffer by dotted name, as plain tensors that share storage with them.

        destination: a dict to enter them in, which is given back. prefix: goes before each name. keep_vars: the
        parameters themselves, in place of plain tensors.
        """
        return state.give(self, destination, prefix, keep_vars)

    def load_state_dict(
        self, state_dict: Mapping[str, Tensor], strict: bool = True, assign: bool = False
    ) -> state.Incompatible:
        """Copy values in by name. Everything is checked before anything is changed.

        strict: whether missing or unexpected names raise. A shape that differs always raises.
        assign: take the given tensors themselves, with their dtype and device, in place of copying their values: for
            modules on device meta. Parameters are new objects where they were on another device, so make the optimizer
            afterwards.
        """
        return state.take(self, state_dict, strict, assign)

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
        convert(self.modules(), function)
        return self

    def to(self: M, *args: Any, **kwargs: Any) -> M:
        """Move to a device and convert floating-point tensors to a dtype: to(device), to(dtype), to(device, dtype).

        memory_format: of the tensors with as many dimensions as it is for, as to(memory_format=torch.channels_last).
        """
        return self._convert(conversion(*args, **kwargs))

    def to_empty(self: M, *, device: Any) -> M:
        """Give every parameter and buffer new memory on `device`, whose values are not set: for modules on meta."""
        return self._convert(lambda tensor: torch.empty_like(tensor, device=device))

    def type(self: M, dst_type: torch.dtype) -> M:
        """Convert floating-point parameters and buffers to this dtype, as `to` does."""
        return self.to(dst_type)

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

    def share_memory(self: M) -> M:
        """Move every parameter and buffer to memory that processes share."""
        return self._convert(lambda tensor: tensor.share_memory_())

    # Hooks

    def register_forward_pre_hook(
        self, hook: Hook, *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call hook(module, inputs) before each call of this module; what it gives, if not None, are the inputs.

        prepend: run it before those that are there. with_kwargs: hook(module, inputs, named), giving both or None.
        """
        return register(self._own_hooks().before, hook, prepend, with_kwargs)

    def register_forward_hook(self, hook: Hook, *, prepend: bool = False, with_kwargs: bool = False) -> RemovableHandle:
        """Call hook(module, inputs, output) after each call of this module; what it gives, if not None, is the output.

        As for taking features out of a model:

        >>> from modgrad import nn
        >>> model, features = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1)), []
        >>> with model[0].register_forward_hook(lambda module, inputs, output: features.append(output)):
        ...     y = model(torch.ones(1, 2))
        >>> features[0].shape
        torch.Size([1, 3])

        prepend: run it before those that are there. with_kwargs: hook(module, inputs, named, output).
        """
        return register(self._own_hooks().after, hook, prepend, with_kwargs)

    def _own_hooks(self) -> Hooks:
        if self._hooks is None:
            self.__dict__["_hooks"] = Hooks()
        return self.__dict__["_hooks"]

    # Reading

    def extra_repr(self) -> str:
        """The arguments between the parentheses of `repr`."""
        return ""

    def __repr__(self) -> str:
        extra = [line for line in self.extra_repr().split("\n") if line]
        children = [f"({name}): " + repr(self.__dict__[name]).replace("\n", "\n  ") for name in self._module_names]
        marked = " [recomputed]" * self._recomputed
        lines = [*extra, *children]
        if not children and len(extra) < 2:
            return f"{type(self).__name__}({''.join(extra)}){marked}"
        return "\n  ".join([f"{type(self).__name__}(", *lines]) + f"\n){marked}"

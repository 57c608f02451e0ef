"""modgrad's modules as PyTorch's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from modgrad import nn
from modgrad.interop.modules.layers import bare

_CONTAINERS = (nn.ModuleDict, nn.ModuleList, nn.ParameterDict, nn.ParameterList, nn.Sequential)


def to_torch(module: nn.Module, copy: bool = True) -> Any:
    """A module of PyTorch's that computes what `module` computes, if it is a layer, or a container of such.

    >>> from modgrad import interop, nn
    >>> interop.to_torch(nn.Sequential(nn.Linear(2, 3), nn.ReLU()))
    Sequential(
      (0): Linear(in_features=2, out_features=3, bias=True)
      (1): ReLU()
    )

    Arguments, training or evaluation, what is frozen, tied or shared, and buffers are taken over. copy: whether values
    are copied; if not, memory is shared. TypeError names every module that cannot be converted. A class with a forward
    of its own is one: write it over PyTorch's modules, under the same names, and load the state_dict.
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"to_torch: expected one of modgrad's modules, got {type(module).__name__}")
    conversion = _Conversion(copy)
    converted = conversion.module(module, "")
    if conversion.problems:
        lines = "\n  ".join(conversion.problems)
        whole = sum(1 for _ in module.modules())
        raise TypeError(f"to_torch cannot convert {len(conversion.problems)} of {whole} modules:\n  {lines}")
    return converted


class _Conversion:
    def __init__(self, copy: bool) -> None:
        self.copy = copy
        self.problems: list[str] = []
        self._twins: dict[int, Any] = {}

    def module(self, module: Any, path: str) -> Any:
        if id(module) not in self._twins:
            try:
                self._twins[id(module)] = twin = _bare(module)
            except Exception as error:
                self.problems.append(f"{path or 'the module itself'} ({type(module).__name__}): {error}")
                self._twins[id(module)] = twin = torch.nn.Module()
            self._fill(module, twin, path)
        return self._twins[id(module)]

    def _fill(self, module: Any, twin: Any, path: str) -> None:
        own = module.__dict__
        twin.training = module.training
        for name in module._parameter_names:
            parameter = own[name]
            if parameter is not None:
                setattr(twin, name, self._once(parameter, parameter.grad_f))
            elif getattr(twin, name, None) is not None or not hasattr(twin, name):
                twin.register_parameter(name, None)
        for name, persistent in module._buffer_names.items():
            twin.register_buffer(name, self._once(own[name], None), persistent)
        for name in module._module_names:
            if own[name] is not None:
                setattr(twin, name, self.module(own[name], f"{path}.{name}" if path else name))
            elif not hasattr(twin, name):
                twin.register_module(name, None)

    def _once(self, tensor: Any, grad: bool | None) -> Any:
        """A tensor's twin; a Parameter, if it is said whether that is to be updated."""
        if tensor is None:
            return None
        if id(tensor) not in self._twins:
            value = tensor.detach().clone() if self.copy else tensor.detach()
            self._twins[id(tensor)] = value if grad is None else torch.nn.Parameter(value, grad)
        return self._twins[id(tensor)]


def _bare(module: Any) -> Any:
    """The twin, whose parameters have no values yet."""
    cls = next(_own_classes(type(module)), None)
    if cls is None or type(module).forward is not cls.forward:
        raise TypeError(
            "it has a forward of its own, made of modgrad's modules: write it over PyTorch's, and load the state_dict"
        )
    if module._hooks is not None and (module._hooks.before or module._hooks.after):
        raise TypeError("it has hooks: remove them")
    theirs = getattr(torch.nn, cls.__name__, None)
    if theirs is None:
        raise TypeError(f"PyTorch has no {cls.__name__}")
    if cls not in _CONTAINERS:
        return bare(module, cls.__name__, torch.nn)
    twin = theirs()
    for name in ("_size", "_keys"):  # of lists and dicts of parameters
        if name in module.__dict__:
            setattr(twin, name, module.__dict__[name])
    return twin


def _own_classes(cls: type) -> Iterator[Any]:
    """Those of its classes that modgrad exports, but for the bases that compute nothing."""
    for base in cls.__mro__:
        if getattr(nn, base.__name__, None) is base and base not in (nn.Module, nn.Primitive):
            yield base

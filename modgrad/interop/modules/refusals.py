"""What cannot be converted, told before anything is: each module's reasons, in words."""

from __future__ import annotations

from collections.abc import Iterator
from types import FunctionType, MethodType
from typing import Any

import torch

from modgrad import nn
from modgrad.interop.modules.classes import is_pytorchs, own_attribute, pytorchs_base, users_classes
from modgrad.interop.modules.reachable import hazards

_T: Any = torch.nn
CONTAINERS = {_T.Module, _T.ModuleDict, _T.ModuleList, _T.ParameterDict, _T.ParameterList, _T.Sequential}
_LAZY: Any = torch.nn.modules.lazy.LazyModuleMixin
_WRAPPERS = {
    "DataParallel": "take what is in it, module.module",
    "DistributedDataParallel": "take what is in it, module.module",
    "OptimizedModule": "it is compiled: take the module itself, module._orig_mod",
    "GraphModule": "it was traced by torch.fx: take the module that it was made from",
}
# Those of the base class's methods that a user's class may have as its own
_MAY_BE_OWN = {"__init__", "__repr__", "_get_name", "eval", "extra_repr", "forward", "train"}
_OF_A_LAYER = {"__init__", "extra_repr", "forward", "reset_parameters", "_reset_parameters"}
_UNUSED = {"__setstate__", "_load_from_state_dict"}  # for what older versions of the class have saved
_DATA = {"__module__", "__doc__", "__annotations__", "__dict__", "__weakref__", "__orig_bases__", "__parameters__"}
_DATA |= {"__firstlineno__", "__static_attributes__", "__annotate__", "__annotate_func__", "__type_params__"}
_DATA |= {"__annotations_cache__", "__constants__", "_version", "training", "dump_patches", "call_super_init"}
_HOOKS = {
    "_forward_hooks": "a forward hook",
    "_forward_pre_hooks": "a forward pre-hook",
    "_backward_hooks": "a backward hook",
    "_backward_pre_hooks": "a backward pre-hook",
    "_state_dict_hooks": "a hook of its state_dict",
    "_state_dict_pre_hooks": "a hook of its state_dict",
    "_load_state_dict_pre_hooks": "a hook of load_state_dict",
    "_load_state_dict_post_hooks": "a hook of load_state_dict",
}


_ENDS = {
    "SpectralNorm": "write torch.nn.utils.remove_spectral_norm(module)",
    "WeightNorm": "write torch.nn.utils.remove_weight_norm(module)",
}


def refusals(module: Any) -> Iterator[str]:
    """Why this module itself, whatever is below it, cannot be converted. Nothing, if it can."""
    cls = type(module)
    if torch.nn.utils.parametrize.is_parametrized(module):
        names = ", ".join(module.parametrizations)
        yield (
            f"it has parametrizations, of {names}: write torch.nn.utils.parametrize.remove_parametrizations first, "
            "which leaves the values that they give"
        )
        return
    if isinstance(module, _LAZY) and module.has_uninitialized_params():
        yield "it is lazy, and its parameters have no shape yet: call the model once"
        return
    base = pytorchs_base(cls)
    why = _unknown(base)
    if why is not None:
        yield why
        return
    for attribute, what in _HOOKS.items():
        for hook in getattr(module, attribute, None) or {}:
            function = getattr(module, attribute)[hook]
            name = getattr(function, "__name__", type(function).__name__)
            end = _ENDS.get(name, "remove it, and register it on the converted module")
            yield f"it has {what}, {name}: {end}"
    yield from _of_parameters(module)
    if not is_pytorchs(cls):
        yield from _of_class(module, cls, base)
    elif "forward" in vars(module):
        yield "its forward was replaced on this one object: write a class"


def _unknown(base: type) -> str | None:
    """Why a class of PyTorch's has no twin."""
    if base in CONTAINERS:
        return None
    name = base.__name__
    if name in _WRAPPERS:
        return _WRAPPERS[name]
    if ".ao." in base.__module__ or "quantized" in base.__module__:
        return "it is quantized"
    if issubclass(base, torch.jit.ScriptModule):
        return "it is scripted: take the module that it was made from"
    if not isinstance(getattr(nn, name, None), type) or getattr(_T, name, None) is not base:
        return f"modgrad has no {name}"
    return None


def _of_parameters(module: Any) -> Iterator[str]:
    for name, parameter in module._parameters.items():
        if parameter is None:
            continue
        if type(parameter) is not torch.nn.Parameter or type(parameter.data) is not torch.Tensor:
            kind = type(parameter if type(parameter) is not torch.nn.Parameter else parameter.data)
            yield f"its parameter {name} is a {kind.__name__}, no plain tensor"
        elif not parameter.is_floating_point():
            yield f"its parameter {name} is of {parameter.dtype}, and only floating-point ones have gradients here"
        elif parameter.layout is not torch.strided:
            yield f"its parameter {name} is not dense"


def _of_class(module: Any, cls: type, base: type) -> Iterator[str]:
    """Why a user's class, derived from PyTorch's `base`, cannot be made over modgrad's."""
    users = users_classes(cls)
    written = {name for c in users if issubclass(c, torch.nn.Module) for name in vars(c)} - _DATA
    if type(cls).__name__ not in ("type", "ABCMeta"):
        yield f"its class has a metaclass, {type(cls).__name__}"
    other = [c for c in cls.__mro__ if is_pytorchs(c) and issubclass(c, torch.nn.Module) and not issubclass(base, c)]
    if other:
        yield f"it is derived from {base.__name__} and from {other[0].__name__}"
    taken = written & set(dir(base)) - _UNUSED - (_MAY_BE_OWN if base in CONTAINERS else _OF_A_LAYER)
    taken |= written & {"__call__", "__getattr__", "__getattribute__", "__slots__"}
    if taken:
        yield f"its class has its own {', '.join(sorted(taken))} in place of what {base.__name__} has"
    roots = sorted((written & _MAY_BE_OWN) - {"__init__"})
    for root in roots:
        if not isinstance(own_attribute(cls, root), FunctionType):
            yield f"its {root} is no Python function, but {type(own_attribute(cls, root)).__name__}"
    instance = vars(module)
    replaced = instance.get("forward")
    if replaced is not None:
        bound = isinstance(replaced, MethodType) and replaced.__self__ is module
        if not bound or own_attribute(cls, replaced.__name__) is not replaced.__func__:
            yield "its forward was replaced on this one object: write a class"
        roots.append("forward")
    yield from dict.fromkeys(hazards(cls, instance, roots))

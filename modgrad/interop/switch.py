"""PyTorch's switch of a parameter, `requires_grad`, is modgrad's `grad_f`: what models do to freeze their parts, and to
choose what an optimizer is to have, means the same here."""

from __future__ import annotations

from typing import Any

from modgrad.graph import Module, Parameter


def _get(parameter: Any) -> bool:
    return bool(parameter.grad_f)


def _set(parameter: Any, value: bool) -> None:
    parameter.grad_f = bool(value)


def _set_and_return(parameter: Any, requires_grad: bool = True) -> Any:
    """Set `grad_f`, and return the parameter."""
    parameter.grad_f = bool(requires_grad)
    return parameter


def _set_all(module: Any, requires_grad: bool = True) -> Any:
    """Set `grad_f` of all parameters, and return the module."""
    for parameter in module.parameters():
        parameter.grad_f = bool(requires_grad)
    return module


_additions: list[tuple[Any, str, Any]] = [
    (Parameter, "requires_grad", property(_get, _set)),
    (Parameter, "requires_grad_", _set_and_return),
    (Module, "requires_grad_", _set_all),
]
for _owner, _name, _addition in _additions:
    setattr(_owner, _name, _addition)

"""What happens when a torch function or operator meets a Variable or a Parameter.

`OPERATORS` says which functions have a derivative here, each with a function that calls the primitive; `nn.operators`
fills it. Every other function is a question: it is asked of plain values, and answers with plain values, unless the
answer would be a float tensor that came from the graph and silently left it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from modgrad.graph import errors
from modgrad.graph.autocast import operation_of
from modgrad.graph.call import is_parameter, is_variable, plain
from modgrad.graph.mode import mode, switched

# torch function -> what to call instead, with the same arguments
OPERATORS: dict[Any, Callable[..., Any]] = {}

_T: Any = Tensor
# Float answers that have no derivative to lose: it is zero, or the function is there to leave the graph.
_CONSTANT = {
    *(_T.detach, torch.detach, _T.data.__get__, _T.grad.__get__),
    *(_T.new_tensor, _T.new_empty, _T.new_zeros, _T.new_ones, _T.new_full),
    *(torch.zeros_like, torch.ones_like, torch.empty_like, torch.full_like, torch.rand_like, torch.randn_like),
    *(_T.sign, torch.sign, _T.sgn, torch.sgn, _T.angle, torch.angle, _T.bernoulli, torch.bernoulli),
    *(_T.round, torch.round, torch.special.round, _T.floor, torch.floor, _T.ceil, torch.ceil),
    *(_T.trunc, torch.trunc, _T.fix, torch.fix, _T.floor_divide, torch.floor_divide),
    *(_T.__floordiv__, _T.__rfloordiv__),
}
# Whether the running code updates parameters, which then act as plain tensors. `interop` tells.
updating: Callable[[], bool] = bool

# What a function of this name, which works in place, gives where it may be done out of place; else NotImplemented.
# `interop` tells.
functionalized: Callable[[str, tuple[Any, ...], dict[str, Any]], Any] | None = None

# Assignments to a Parameter that are its owner's business.
_ASSIGNABLE = {_T.data.__set__, _T.grad.__set__}


def operator(*functions: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the decorated function to be called in place of each of `functions`."""

    def register(replacement: Callable[..., Any]) -> Callable[..., Any]:
        for function in functions:
            OPERATORS[function] = replacement
        return replacement

    return register


def dispatch(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call `func`, which got a Variable or a Parameter among its arguments."""
    if updating() or (func in _ASSIGNABLE and not is_variable(args[0])):
        return on_plain_values(func, args, kwargs)
    replacement = OPERATORS.get(func)
    if replacement is not None and kwargs.get("out") is None:
        kwargs.pop("out", None)
        if mode.autocast is not None and (operation := operation_of(func, kwargs)) is not None:
            with switched(operations=(*mode.operations, operation)):
                return replacement(*args, **kwargs)
        return replacement(*args, **kwargs)
    name = _name(func)
    errors.refuse_autograd_function(func, name)
    if _is_in_place(func, name, kwargs):
        answer = NotImplemented if functionalized is None else functionalized(name, args, kwargs)
        return answer if answer is not NotImplemented else _in_place(func, name, args, kwargs)
    answer = on_plain_values(func, args, kwargs)
    if mode.recording and func not in _CONSTANT and _has_float(answer) and wants_gradient(args, kwargs):
        raise RuntimeError(  # Python's operators would hide a TypeError
            f"{name} has no derivative in modgrad, so the gradient would stop here in silence. "
            "Write .detach() on its inputs if that is meant, or a Primitive with forward and backward"
        )
    return answer


def on_plain_values(func: Any, args: Any, kwargs: Any) -> Any:
    """What `func` gives outside of the graph."""
    if mode.tracing:
        with switched(computing=True):
            return func(*args, **kwargs)
    values, named = plain(args), plain(kwargs)
    with torch._C.DisableTorchFunctionSubclass():
        return func(*values, **named)


def _name(func: Any) -> str:
    name = getattr(func, "__name__", str(func))
    if name in ("__get__", "__set__"):  # a property of tensors
        return str(func.__self__.__name__)
    return str(name)


_IN_PLACE = {
    f"__i{operation}__"
    for operation in ["add", "sub", "mul", "truediv", "div", "floordiv", "mod", "pow", "matmul", "and", "or", "xor"]
} | {"__setitem__", "__delitem__", "__ilshift__", "__irshift__"}


def _is_in_place(func: Any, name: str, kwargs: dict[str, Any]) -> bool:
    if kwargs.get("out") is not None or getattr(func, "__name__", "") == "__set__" or name in _IN_PLACE:
        return True
    return name.endswith("_") and not name.endswith("__")


def _in_place(func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Change a tensor in place, where that cannot falsify a gradient."""
    out = kwargs.get("out")
    targets, operands = (args[0], args[1:]) if out is None else (out, args)
    targets = targets if isinstance(targets, (tuple, list)) else [targets]
    for target in targets:
        if is_variable(target) and (mode.recording or target._source is not None):
            raise RuntimeError(
                f"{name} would change a Variable in place, and its gradient could no longer be told. Write it out of "
                "place (x = x + y); a leaf may be changed inside nn.no_grad(), any value through .detach().clone()"
            )
    if mode.recording and _has_variable((operands, kwargs)):
        raise RuntimeError(
            f"{name} would write a Variable into a tensor outside the graph, and its gradient would be lost. Build the "
            "result with torch.cat, torch.stack or arithmetic, or write .detach() on the Variable if that is meant"
        )
    answer = on_plain_values(func, args, kwargs)
    return args[0] if isinstance(answer, Tensor) and out is None else answer


def _any(x: Any, holds: Callable[[Any], bool]) -> bool:
    if isinstance(x, (tuple, list)):
        return any(_any(item, holds) for item in x)
    if isinstance(x, dict):
        return any(_any(item, holds) for item in x.values())
    return holds(x)


def _has_float(x: Any) -> bool:
    return _any(x, lambda t: isinstance(t, Tensor) and (t.is_floating_point() or t.is_complex()))


def _has_variable(x: Any) -> bool:
    return _any(x, is_variable)


def wants_gradient(*x: Any) -> bool:
    return _any(x, lambda t: is_variable(t) or (is_parameter(t) and t.grad_f))

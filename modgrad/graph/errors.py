"""Refusals that more than one place makes. The only file of the core that reads a tensor's `requires_grad`."""

from operator import attrgetter
from typing import Any

from torch import Tensor

# Whether a tensor belongs to PyTorch's autograd, but for a parameter, whose attribute of this name is its grad_f (see
# `interop.switch`). An attrgetter, because every call of a primitive asks it.
on_autograd = attrgetter("requires_grad")
_truly: Any = Tensor.requires_grad.__get__  # type: ignore[attr-defined]


def refuse_autograd(tensor: Tensor, who: Any) -> None:
    """Raise if `tensor` asks autograd for a gradient: nothing here would ever give it one."""
    if _truly(tensor):
        raise RuntimeError(  # Python's operators would hide a TypeError
            f"{who} was given a tensor with requires_grad=True, which asks PyTorch's autograd for a gradient; modgrad "
            "never runs autograd. Write tensor.detach(), inside nn.Variable(...) or nn.Parameter(...) if it is to get "
            "a gradient"
        )


def refuse_autograd_function(func: Any, name: str) -> None:
    """Raise if `func` turns autograd on or off, or runs it."""
    if name in ("requires_grad", "requires_grad_") and func.__name__ != "__get__":
        raise TypeError(f"{name} is autograd's switch: write parameter.grad_f = True or False")
    if (getattr(func, "__module__", None) or "").split(".")[1:2] == ["autograd"]:
        raise TypeError(f"PyTorch's autograd.{name} has no graph here: call loss.backward(), then read grad_v")


def trainable(grad_f: bool, others: dict[str, Any]) -> bool:
    """What a parameter is to have as grad_f, which models written for PyTorch give under its name there."""
    grad_f = others.pop("requires_grad", grad_f)
    if others:
        raise TypeError(f"Parameter takes data and grad_f, got {', '.join(others)}")
    return bool(grad_f)


def describe(value: Any) -> str:
    """A value as an error names it: a tensor by kind, shape and dtype."""
    if isinstance(value, Tensor):
        return f"{type(value).__name__} of shape {tuple(value.shape)} and {value.dtype}"
    return f"{type(value).__name__} {value!r}"

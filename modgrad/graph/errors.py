"""Refusals that more than one place makes. The only file of the core that reads a tensor's `requires_grad`."""

from operator import attrgetter
from typing import Any

from torch import Tensor

# Whether a tensor belongs to PyTorch's autograd. An attrgetter, because every call of a primitive asks it.
on_autograd = attrgetter("requires_grad")


def refuse_autograd(tensor: Tensor, who: Any) -> None:
    """Raise if `tensor` asks autograd for a gradient: nothing here would ever give it one."""
    if on_autograd(tensor):
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


def describe(value: Any) -> str:
    """A value as an error names it: a tensor by kind, shape and dtype."""
    if isinstance(value, Tensor):
        return f"{type(value).__name__} of shape {tuple(value.shape)} and {value.dtype}"
    return f"{type(value).__name__} {value!r}"

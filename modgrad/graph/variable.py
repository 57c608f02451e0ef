"""Variable: a value in the recorded graph. Parameter: a tensor to be trained. Both send operators to `dispatch`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from modgrad.graph import errors
from modgrad.graph.autocast import Cast
from modgrad.graph.call import Call, Plain
from modgrad.graph.dispatch import dispatch
from modgrad.graph.mode import mode
from modgrad.graph.walk import backward

_plainly = torch._C.DisableTorchFunctionSubclass


def _raw(data: Any, kind: str) -> Tensor:
    """The plain tensor under `data`, checked to be one that may be given gradients."""
    if isinstance(data, Variable) and data._source is not None:
        raise TypeError(f"{kind} of a recorded Variable: write {kind}(variable.detach()) to start a new graph from it")
    value = data if isinstance(data, Tensor) else torch.as_tensor(data)
    errors.refuse_autograd(value, kind)
    if not value.is_floating_point():
        raise TypeError(
            f"{kind} needs a floating-point tensor to have a gradient, got {value.dtype}: "
            "write tensor.float(), or keep it a plain tensor"
        )
    if mode.tracing:
        return value
    with _plainly():
        return value.as_subclass(Tensor)


class Variable(Tensor):
    """A value in the recorded graph, made by calling a primitive; or, made from a tensor, a leaf that wants a gradient.

    grad_v: dL/dself after `backward`, for every Variable that is still held; None before.
    previous_module: the primitive that made it; None for a leaf.
    previous_inputs: what that primitive was given. A value that was let go appears as a Variable on device `meta`.
    """

    _value: Tensor  # the same storage as a plain tensor: what primitives compute with
    _source: tuple[Call, int] | None = None
    grad_v: Tensor | None = None

    def __new__(cls, data: Any) -> Variable:
        value = _raw(data, "Variable")
        if mode.tracing:
            leaf: Any = value.view_as(value)
            leaf._source, leaf.grad_v = None, None
            return leaf
        variable = value.as_subclass(cls)
        variable._value = value
        return variable

    def __init__(self, data: Any) -> None:
        """data: a floating-point tensor, whose storage is shared, or what torch.as_tensor takes."""

    @property
    def previous_module(self) -> Any:
        module: Any = None if self._source is None else self._source[0].module
        return module._module if type(module) is Cast else module

    @property
    def previous_inputs(self) -> tuple[Any, ...]:
        return () if self._source is None else tuple(map(_shown, self._source[0].sources))

    def backward(
        self,
        gradient: Tensor | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: None = None,
    ) -> None:
        """Walk the graph from here to the leaves, leaving dL/d(each) in `grad_v` of parameters and held Variables.

        gradient: dL/dself, of self's shape and dtype; may be left out for a scalar, where it is 1.
        retain_graph: keep what was saved, so that backward may run again.
        """
        backward(self, gradient, bool(retain_graph), create_graph, inputs)

    @property
    def grad(self) -> Tensor | None:
        return self.grad_v

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        self.grad_v = value

    def detach(self) -> Tensor:
        """The value as a plain tensor that shares storage, outside the graph."""
        return self._value

    def item(self) -> Any:
        return self._value.item()

    # The questions that every model and operator asks are answered at once: to go through `dispatch` takes ten times
    # as long.
    shape: Any = property(lambda self: self._value.shape)
    dtype: Any = property(lambda self: self._value.dtype)
    device: Any = property(lambda self: self._value.device)
    ndim: Any = property(lambda self: self._value.dim())

    def dim(self) -> int:
        return self._value.dim()

    def size(self, dim: int | None = None) -> Any:
        return self._value.shape if dim is None else self._value.shape[dim]

    def is_contiguous(self, memory_format: Any = torch.contiguous_format) -> bool:
        return self._value.is_contiguous(memory_format=memory_format)

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        made_by = "" if self._source is None else f", previous_module={self.previous_module}"
        return f"Variable({self._value!r}{made_by})"

    def __deepcopy__(self, memo: dict[int, Any]) -> Variable:
        if self._source is not None:
            raise TypeError("a recorded Variable cannot be deep-copied: copy variable.detach()")
        copy = type(self)(self._value.clone())
        memo[id(self)] = copy
        return copy

    def __reduce_ex__(self, protocol: Any) -> Any:
        if self._source is not None:
            raise TypeError("a recorded Variable cannot be pickled: save variable.detach()")
        return type(self), (self._value,)

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return dispatch(func, args, kwargs or {})


class Parameter(Tensor):
    """A tensor that a module owns and an optimizer updates.

    grad_f: whether it is to be updated (and so whether it wants a gradient).
    grad_v: its gradient, or None. It lives in the tensor's own `.grad` slot, where PyTorch's tools look for it.
    """

    grad_f: bool

    def __new__(cls, data: Any, grad_f: bool = True, **pytorchs: Any) -> Parameter:
        if pytorchs:
            grad_f = errors.trainable(grad_f, pytorchs)
        value: Any = _raw(data, "Parameter")
        if mode.tracing:
            parameter = value.view_as(value)
        else:  # `as_subclass` would make a view, which holds on to this memory when it is given other data, as by `.to`
            parameter = value.data
            parameter.__class__ = cls
        parameter.grad_f = grad_f
        if mode.tracing:
            parameter.grad_v = None
        return parameter

    def __init__(self, data: Any, grad_f: bool = True, **pytorchs: Any) -> None:
        """data: a floating-point tensor, whose storage is shared. pytorchs: grad_f by the name that PyTorch has."""

    @property
    def grad_v(self) -> Tensor | None:
        with _plainly():
            return self.grad

    @grad_v.setter
    def grad_v(self, value: Tensor | None) -> None:
        with _plainly():
            self.grad = value

    __hash__ = object.__hash__  # as a tensor's, by identity; optimizers look their state up by it at every step

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        with _plainly():
            return f"Parameter({self.data!r}{'' if self.grad_f else ', grad_f=False'})"

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        with _plainly():
            copy = type(self)(self.data.clone(), self.grad_f)
        memo[id(self)] = copy
        return copy

    def __reduce_ex__(self, protocol: Any) -> Any:
        with _plainly():
            return type(self), (self.data, self.grad_f)

    __torch_function__ = Variable.__torch_function__


def _shown(source: Any) -> Any:
    """An input as `previous_inputs` shows it."""
    if type(source) is tuple:
        call, index = source
        reference, shape, dtype = call.outputs[index]
        alive = reference()
        return alive if alive is not None else _on_meta(shape, dtype, source)
    if type(source) is Plain:
        if source.reference is None:
            return source.value
        alive = source.reference()
        return alive if alive is not None else _on_meta(source.shape, source.dtype, None)
    return source


def _on_meta(shape: torch.Size, dtype: torch.dtype, source: tuple[Call, int] | None) -> Variable:
    value = torch.empty(shape, dtype=dtype, device="meta")
    variable = value.as_subclass(Variable)
    variable._value, variable._source = value, source
    return variable

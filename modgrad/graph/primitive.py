"""Primitive: a module that states its own derivative. Calling one is what records the graph."""

from __future__ import annotations

import inspect
import weakref
from typing import Any

import torch
from torch import Tensor

from modgrad.graph.call import Call, Plain, Source, is_parameter, is_variable, plain
from modgrad.graph.errors import describe, on_autograd, refuse_autograd
from modgrad.graph.mode import mode
from modgrad.graph.module import Module
from modgrad.graph.variable import Variable

_plainly = torch._C.DisableTorchFunctionSubclass


class Primitive(Module):
    """A module that states its own derivative. Inside its methods there are only plain tensors.

        class Square(nn.Primitive):
            def forward(self, call, x):
                call.save(x)
                return x * x

            def backward(self, call, grad):
                (x,) = call.saved
                return 2 * x * grad

    forward(call, *inputs): one output or a tuple. `call.save` keeps what backward needs.
    backward(call, *grads): given dL/d(output), one for each output (None where nothing came), says dL/d(input):
        one gradient or None for each input, in order. Those of trailing inputs that are not tensors may be left out.
    parameter_gradients(call, *grads): name -> dL/d(parameter), for those of its own parameters where
        `call.wants(name)`. A primitive that has no parameters leaves it out.
    """

    def forward(self, call: Call, *inputs: Any) -> Any:
        raise RuntimeError(f"{type(self).__name__} has no forward: write def forward(self, call, ...)")

    def backward(self, call: Call, *grads: Any) -> Any:
        raise RuntimeError(f"{type(self).__name__} has no backward: write def backward(self, call, grad)")

    def parameter_gradients(self, call: Call, *grads: Any) -> dict[str, Tensor | None]:
        raise RuntimeError(
            f"{type(self).__name__} has parameters to train and does not say their gradients: "
            "write def parameter_gradients(self, call, grad), giving name -> gradient"
        )

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        # Every microsecond here is paid at each call of each layer: the common kinds of input come first, inline.
        if named:
            inputs = _in_order(self, inputs, named)
        values: list[Any] = []
        sources: list[Source] = []
        wanted = False
        for x in inputs:
            kind = type(x)
            if kind is Variable:
                values.append(x._value)
                source = x._source
                sources.append(x if source is None else source)
                wanted = True
            elif kind is Tensor and not mode.tracing:
                if on_autograd(x):
                    refuse_autograd(x, self)
                values.append(x)
                sources.append(Plain(x))
            else:
                value, source = _understood(self, x)
                values.append(value)
                sources.append(source)
                wanted = wanted or type(source) is not Plain
        parameters = {}
        if self._parameter_names:
            own = self.__dict__
            for name in self._parameter_names:
                parameter = own[name]
                if parameter is not None and parameter.grad_f:
                    parameters[name] = parameter
        call = Call(self, sources, parameters)
        if not mode.recording:
            call.sources, call.parameters = [Plain(None)] * len(sources), {}
            wanted = False
        if mode.tracing:
            output = _compute_traced(self, call, values)
        else:
            with _plainly():
                output = self.forward(call, *values)
        call.wanted = wanted
        if not (wanted or call.parameters):
            return output
        if type(output) is Tensor and not mode.tracing:  # the common case, inline: one output
            if on_autograd(output):
                refuse_autograd(output, f"{self}.forward: its output")
            variable = output.as_subclass(Variable)
            variable._value = output
            variable._source = (call, 0)
            call.outputs = [(weakref.ref(variable), output.shape, output.dtype)]
            outputs: Any = variable
        elif isinstance(output, (tuple, list)):
            outputs = tuple(_recorded(value, call) for value in output)
        else:
            outputs = _recorded(output, call)
        if mode.keeping:
            call.kept = inputs, outputs
        return outputs


def _recorded(value: Any, call: Call) -> Any:
    """One output of `call` as the caller gets it: a Variable, or the value itself where none can have a gradient."""
    index = len(call.outputs)
    if not isinstance(value, Tensor):
        if value is not None:
            raise TypeError(f"{call.module}.forward returned {describe(value)}: return a tensor, or a tuple of tensors")
        call.outputs.append(None)
        return None
    if is_variable(value) and not mode.tracing:
        raise TypeError(
            f"{call.module}.forward returned a Variable: inside a primitive there are only plain tensors. "
            "To combine modules, write a composite: class Name(nn.Module) with only a forward"
        )
    refuse_autograd(value, f"{call.module}.forward: its output")
    if not value.is_floating_point():  # indices, masks
        call.outputs.append(None)
        return value
    variable: Any
    if mode.tracing:  # a subclass cannot be laid over a fake tensor: the record hangs on the tensor itself
        variable = value.view_as(value) if is_variable(value) or is_parameter(value) else value
        variable.grad_v = None
    else:
        with _plainly():
            variable = value.as_subclass(Variable)
            variable._value = value.as_subclass(Tensor)
    variable._source = (call, index)
    call.outputs.append((weakref.ref(variable), value.shape, value.dtype))
    return variable


def _understood(module: Primitive, x: Any) -> tuple[Any, Source]:
    """The value that forward is given for input `x`, and where its gradient goes."""
    if isinstance(x, Tensor):
        refuse_autograd(x, module)
        if is_variable(x):
            return plain(x), x if x._source is None else x._source  # type: ignore[attr-defined]
        if is_parameter(x):
            return plain(x), x if x.grad_f else Plain(x)  # type: ignore[attr-defined]
    elif isinstance(x, (tuple, list)) and any(is_variable(item) or is_parameter(item) for item in x):
        raise TypeError(
            f"{module} was given a {type(x).__name__} with Variables in it, whose gradients would be lost: "
            f"give them one by one, module(*inputs), and write forward(self, call, *inputs)"
        )
    return x, Plain(x)


def _compute_traced(module: Primitive, call: Call, values: list[Any]) -> Any:
    before, mode.computing = mode.computing, True
    try:
        return module.forward(call, *values)
    finally:
        mode.computing = before


def _in_order(module: Primitive, inputs: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, ...]:
    """Inputs given by name, put in the order of forward's arguments."""
    bound = inspect.signature(module.forward).bind(None, *inputs, **named)
    bound.apply_defaults()
    if bound.kwargs:
        raise TypeError(f"{module}.forward takes {', '.join(bound.kwargs)} by name only: make it a positional argument")
    return bound.args[1:]

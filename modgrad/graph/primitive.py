"""Primitive: a module that states its own derivative. Calling one is what records the graph."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from typing import Any
from weakref import ref

import torch
from torch import Tensor

from modgrad.graph.again import forward_to_be_repeated
from modgrad.graph.autocast import cast, refuse_torch_autocast, torch_autocast_off, torch_casts
from modgrad.graph.call import Call, KeptCall, Plain, Source, is_parameter, is_variable, nobody, plain
from modgrad.graph.errors import describe, on_autograd, refuse_autograd
from modgrad.graph.hooks import THERE, begun, due
from modgrad.graph.hooks import call as call_with_hooks
from modgrad.graph.mode import mode, switched
from modgrad.graph.module import Module
from modgrad.graph.variable import Variable

_plainly = torch._C.DisableTorchFunctionSubclass


class Primitive(Module):
    """A module that states its own derivative. Inside its methods there are only plain tensors.

    >>> from modgrad import nn
    >>> class Square(nn.Primitive):
    ...     def forward(self, call, x):
    ...         call.save(x)
    ...         return x * x
    ...
    ...     def backward(self, call, grad):
    ...         (x,) = call.saved
    ...         return 2 * x * grad
    >>> x = nn.Variable([1.0, 3.0])
    >>> Square()(x).sum().backward()
    >>> x.grad_v
    tensor([2., 6.])

    forward(call, *inputs): one output or a tuple. `call.save` keeps what backward needs.
    backward(call, *grads): given dL/d(output), one for each output (None where nothing came), says dL/d(input):
        one gradient or None for each input, in order. Those of trailing inputs that are not tensors may be left out.
    backward_(call, grad): may be there beside `backward` in a primitive of one input, one output and no parameters: the
        same, written into the memory of `grad`, which is nobody else's then.
    parameter_gradients(call, *grads): name -> dL/d(parameter), for those of its own parameters where
        `call.wants(name)`. A primitive that has no parameters leaves it out.
    parameter_gradients_(call, grad, gradients): may be there beside it in a primitive of one output: the same, added to
        what has come for all of these before, gradients[name], in its memory. For large ones that are used often.
    autocast: in which dtype it runs inside `nn.autocast`: the name of an operation of PyTorch's lists, or of a list,
        "lower", "float32" or "promote"; "" for the dtypes that come. Or a method that tells it from the inputs.
    """

    backward_: Any = None
    parameter_gradients_: Any = None
    autocast: Any = ""

    def __init_subclass__(cls, **named: Any) -> None:
        super().__init_subclass__(**named)
        for name in ("backward", "parameter_gradients"):
            if name in cls.__dict__ and name + "_" not in cls.__dict__:
                setattr(cls, name + "_", None)  # a subclass's own is not what its base class's writes in place

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
        if THERE and due(self):
            return call_with_hooks(self, inputs, named)
        if named:
            inputs = _in_order(self, inputs, named)
        values: list[Any] = []
        sources: list[Source] = []
        wanted = False
        for x in inputs:  # the common kinds stand here, as this is paid at each call of each layer
            kind = type(x)
            if kind is Variable:
                values.append(x._value)
                source = x._source
                sources.append(x if source is None else source)
                wanted = True
            elif kind is Tensor and mode.ordinary:
                if on_autograd(x):
                    refuse_autograd(x, self)
                values.append(x)
                sources.append(Plain(ref(x), x.shape, x.dtype))
            else:
                value, source = _understood(self, x)
                values.append(value)
                sources.append(source)
                if type(source) is not Plain:
                    wanted = True
        if not mode.ordinary:
            return _compute_unusually(self, inputs, values, sources, wanted)
        output, call = _compute(self, values, sources, wanted)
        if call is None:
            return output
        return _surface(output, call) if call.outputs else _surface_all(output, call)


class Passing(Primitive):
    """A primitive that at times is the identity, as dropout in evaluation.

    passes(): whether it is so now. Then a call gives back its input itself, and neither `forward` nor `backward` runs.
    """

    def passes(self) -> bool:
        raise RuntimeError(f"{type(self).__name__} has no passes: write def passes(self), whether it is the identity")

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        if THERE and due(self):
            return call_with_hooks(self, inputs, named)
        if self.passes():
            (input,) = _in_order(self, inputs, named) if named else inputs
            return input
        if THERE:
            begun(self)
        return super().__call__(*inputs, **named)


def call_in_turn(modules: Iterable[Module], input: Any) -> Any:
    """The same as `for module in modules: input = module(input)`, for less.

    Between two primitives no Variable is made, as nobody could hold it.
    """
    waiting = iter(modules)
    module = next(waiting, None)
    while module is not None:
        if _runs(module) and mode.ordinary and type(input) in (Variable, Tensor):
            input, module = _run(module, waiting, input)
        else:
            input, module = module(input), next(waiting, None)
    return input


def _runs(module: Any) -> bool:
    """Whether calling `module` now is what `Primitive.__call__` does."""
    if THERE and isinstance(module, Module) and module._hooks is not None:
        return False
    call = type(module).__call__
    return call is _call_primitive or (call is _call_passing and not module.passes())


def _run(module: Any, waiting: Iterator[Module], input: Any) -> tuple[Any, Module | None]:  # noqa: PLR0912
    """Call the primitive `module`, and those that follow on it directly. Gives what the last gave, and who is next.

    What is paid for every layer stands here in one piece.
    """
    source: Source = None
    wanted = type(input) is Variable
    if wanted:
        source = input if input._source is None else input._source
        input = input._value
    else:
        refuse_autograd(input, module)
    if torch_casts():
        refuse_torch_autocast(module)
    with _plainly():
        while True:
            parameters = _trainable(module) if module._parameter_names else _NO_PARAMETERS
            if not wanted:
                source = Plain(ref(input), input.shape, input.dtype)
            call = Call(module, [source], parameters, wanted)
            input = forward_to_be_repeated(module, call, input) if module._recomputed else module.forward(call, input)
            module = next(waiting, None)
            if type(input) is not Tensor:
                break
            if on_autograd(input):
                refuse_autograd(input, f"{call.module}.forward: its output")
            if wanted or parameters:
                dtype = input.dtype
                if not dtype.is_floating_point:
                    break
                call.outputs = [(nobody, input.shape, dtype)]
                source = (call, 0)
                wanted = True
            if THERE or type(module).__call__ is not _call_primitive:
                while type(module).__call__ is _call_passing and module._hooks is None and module.passes():
                    module = next(waiting, None)
                if not _runs(module):
                    break
    if wanted or parameters:
        input = _surface(input, call) if call.outputs else _surface_all(input, call)
    return input, module


def _compute(module: Primitive, values: list[Any], sources: list[Source], wanted: bool) -> tuple[Any, Call | None]:
    """Run forward on plain values. Gives its output and, where something wants a gradient, the call that it leaves.

    The call has `outputs` where there is one float tensor; other outputs are for `_surface_all`.
    """
    if torch_casts():  # asked here, as this is paid at each call
        refuse_torch_autocast(module)
    call = Call(module, sources, _trainable(module) if module._parameter_names else _NO_PARAMETERS, wanted)
    with _plainly():
        output = forward_to_be_repeated(module, call, *values) if module._recomputed else module.forward(call, *values)
    if not (wanted or call.parameters):
        return output, None
    if type(output) is Tensor:
        dtype = output.dtype
        if dtype.is_floating_point:
            if on_autograd(output):
                refuse_autograd(output, f"{module}.forward: its output")
            call.outputs = [(nobody, output.shape, dtype)]
    return output, call


def _surface(output: Tensor, call: Call) -> Any:
    """The Variable of a call's only output."""
    # A second tensor over the same memory, made a Variable: as_subclass does this, in three times the time.
    variable: Any = output.data
    variable.__class__ = Variable
    variable._value = output
    variable._source = (call, 0)
    _, shape, dtype = call.outputs[0]  # type: ignore[misc]
    call.outputs[0] = (ref(variable), shape, dtype)
    return variable


_call_primitive = Primitive.__call__  # what a class that calls its primitives in its own way has not
_call_passing = Passing.__call__
_NO_PARAMETERS: dict[str, Any] = {}


def _trainable(module: Primitive) -> dict[str, Any]:
    """The module's own parameters that want a gradient."""
    own = module.__dict__
    found = {}
    for name in module._parameter_names:
        parameter = own[name]
        if parameter is not None and parameter.grad_f:
            found[name] = parameter
    return found


def _compute_unusually(
    module: Primitive, inputs: tuple[Any, ...], values: list[Any], sources: list[Source], wanted: bool
) -> Any:
    """A call under no_grad, keep_values, tracing or autocast."""
    parameters = _trainable(module)
    if not mode.recording:
        sources, parameters, wanted = [Plain(None)] * len(sources), {}, False
    call = (KeptCall if mode.keeping else Call)(module, sources, parameters, wanted)
    runs: Any = module
    if mode.autocast is None:
        refuse_torch_autocast(module)
    else:
        runs = call.module = cast(module, values)
    if mode.tracing:
        if mode.locate is not None:
            runs = call.module = mode.locate(module, runs)
        with switched(computing=True):
            output = runs.forward(call, *values)
    elif mode.autocast is not None:
        repeated = module._recomputed and mode.recording and not mode.keeping
        with _plainly(), torch_autocast_off():
            output = forward_to_be_repeated(runs, call, *values) if repeated else runs.forward(call, *values)
    else:
        with _plainly():
            output = runs.forward(call, *values)
    if not (wanted or parameters):
        return output
    if type(output) is Tensor and output.is_floating_point() and not (mode.keeping or mode.tracing):
        if on_autograd(output):
            refuse_autograd(output, f"{module}.forward: its output")
        call.outputs = [(nobody, output.shape, output.dtype)]
        return _surface(output, call)
    outputs = _surface_all(output, call)
    if isinstance(call, KeptCall):
        call.kept = inputs, outputs
    return outputs


def _surface_all(output: Any, call: Call) -> Any:
    """What forward returned, as the caller gets it."""
    call.outputs = []
    if isinstance(output, (tuple, list)):
        return tuple(_surface_one(value, call) for value in output)
    return _surface_one(output, call)


def _surface_one(value: Any, call: Call) -> Any:
    """One output of `call`: a Variable, or the value itself where none can have a gradient."""
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
    if on_autograd(value):  # asked first, as the name takes longer to write than many an operation to run
        refuse_autograd(value, f"{call.module}.forward: its output")
    if value.is_complex():
        raise RuntimeError(  # Python's operators would hide a TypeError
            f"{call.module} gave {describe(value)}: gradients of complex numbers are not supported. Compute with real "
            "and imaginary parts apart, or write .detach() on its inputs"
        )
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
    call.outputs.append((ref(variable), value.shape, value.dtype))
    return variable


def _understood(module: Primitive, x: Any) -> tuple[Any, Source]:
    """The value that forward is given for input `x`, and where its gradient goes."""
    if isinstance(x, Tensor):
        refuse_autograd(x, module)
        if is_variable(x):
            return plain(x), x if x._source is None else x._source  # type: ignore[attr-defined]
        if is_parameter(x):
            with _plainly():
                value = x if mode.tracing else x.as_subclass(Tensor)
            return value, x if x.grad_f else Plain.of(x)  # type: ignore[attr-defined]
    elif isinstance(x, (tuple, list)) and any(is_variable(item) or is_parameter(item) for item in x):
        raise TypeError(
            f"{module} was given a {type(x).__name__} with Variables in it, whose gradients would be lost: "
            f"give them one by one, module(*inputs), and write forward(self, call, *inputs)"
        )
    return x, Plain.of(x)


def _in_order(module: Primitive, inputs: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, ...]:
    """Inputs given by name, put in the order of forward's arguments."""
    bound = inspect.signature(module.forward).bind(None, *inputs, **named)
    bound.apply_defaults()
    if bound.kwargs:
        raise TypeError(f"{module}.forward takes {', '.join(bound.kwargs)} by name only: make it a positional argument")
    return bound.args[1:]

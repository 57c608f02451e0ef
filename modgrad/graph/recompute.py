"""recompute: what a marked module computes is not kept for backward, but computed again from its inputs.

A composite leaves one call, which has saved its inputs. In backward it runs again, now recorded, from its inputs as
they were: Variables that come from where the inputs came from. So its own calls take their places in the walk that is
under way: they are later than every call that waits there, and their gradients go on to the calls before the composite.

Of a primitive, the output is not kept: see `again.ComputedAgain`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor

from modgrad.graph import module as of_modules
from modgrad.graph.again import Conditions, DrawingRefused
from modgrad.graph.call import Call, CallOfMany, Onward, Plain, is_parameter, is_variable, plain
from modgrad.graph.errors import describe
from modgrad.graph.mode import mode, switched
from modgrad.graph.module import Module
from modgrad.graph.primitive import Passing, Primitive, _surface_one, _understood
from modgrad.graph.tracing import Tracing
from modgrad.graph.variable import Variable

_plainly = torch._C.DisableTorchFunctionSubclass
M = TypeVar("M", bound=Module)


def recompute(module: M, on: bool = True) -> M:
    """Mark `module`, so that what it computes is not kept for backward, but computed again; `on=False` unmarks it.

    Gives back the same module. A composite keeps its inputs only, and runs a second time in backward: memory for time.
    A primitive's output (of a norm, an activation) is not kept by those that save it, and computed again for the first
    of them. One that saves its own output, as ReLU does, would keep its input instead, and is left as it is unless that
    need not be kept either: mark both BatchNorm2d and the ReLU behind it.

    Its parameters, the buffers that it only reads, and its inputs must not change in place before backward, which is
    found. `training`, the buffers that it changes and the random numbers it draws are what they were. Whatever else its
    forward reads or leaves behind (attributes, globals) must not matter. Chen et al. 2016.

    >>> import torch
    >>> from modgrad import nn
    >>> block = nn.recompute(nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2)))
    >>> block(torch.ones(1, 2)).sum().backward()
    >>> block[0].weight.grad_v.shape
    torch.Size([3, 2])
    """
    if not isinstance(module, Module):
        raise TypeError(f"recompute: expected an nn.Module, got {describe(module)}")
    kind = type(module)
    if kind.__call__ not in (Module.__call__, Primitive.__call__, Passing.__call__):
        raise TypeError(f"recompute({kind.__name__}): it has a __call__ of its own, which cannot be run again")
    if kind.forward is Module.forward:
        raise TypeError(f"recompute({kind.__name__}): it has no forward. Mark the modules in it")
    if on:
        module.__dict__["_recomputed"] = True
    else:
        module.__dict__.pop("_recomputed", None)
    return module


class Recomputed(Primitive):
    """What a marked composite is in the graph: its backward is to run it again."""

    def __init__(self, module: Module) -> None:
        super().__init__()
        self.module = module

    def backward(self, call: Any, *grads: Any) -> Onward:
        again = switched(recording=True, keeping=False, computing=False)
        operators = Tracing() if mode.tracing else nullcontext()  # which is not active inside its own `backward`
        with again, operators, torch._C._EnableTorchFunction(), call.conditions.again():
            with _plainly():
                tensors = [_as_it_came(value, source) for value, source in zip(call.saved, call.sources, strict=False)]
            inputs, named = _mapped(call.arguments, lambda place: tensors[place.index], _Place)
            outputs = self.module.forward(*inputs, **named)
        sources: list[Any] = []
        _mapped(outputs, lambda output: sources.append(_source(output)), Tensor)
        if len(sources) != len(grads):
            raise RuntimeError(f"{self} gave {len(grads)} tensors in forward, and {len(sources)} when it ran again")
        return Onward(Call(self, sources, {}, True), grads)

    def __repr__(self) -> str:
        return repr(self.module)


class _Place:
    """Where a tensor stood among the arguments."""

    def __init__(self, index: int) -> None:
        self.index = index


def _call_recomputed(module: Any, inputs: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """Call a marked composite."""
    if not mode.recording or mode.keeping:
        return module.forward(*inputs, **named)
    given: list[Any] = []
    values: list[Any] = []
    sources: list[Any] = []

    def enter(tensor: Tensor) -> _Place:
        value, source = _understood(module, tensor)
        given.append(tensor if is_parameter(tensor) else value)
        values.append(value)
        sources.append(source)
        return _Place(len(values) - 1)

    arguments = _mapped((inputs, named), enter, Tensor)
    if all(type(s) is Plain for s in sources) and not any(p.grad_f for p in module.parameters()):  # nothing to train
        return module.forward(*inputs, **named)
    call: Any = CallOfMany(Recomputed(module), sources, {}, True)
    conditions = Conditions(module, values)
    call.within = [parameter for parameter in conditions.parameters if parameter.grad_f]
    kept = [*values, *conditions.parameters]
    with _plainly():
        versions = [tensor._version for tensor in kept]
    inputs, named = _mapped(arguments, lambda place: given[place.index], _Place)
    with switched(recording=False), DrawingRefused(module) if mode.tracing else nullcontext():
        outputs = module.forward(*inputs, **named)
    with _plainly():
        for tensor, version in zip(kept, versions, strict=True):
            if tensor._version != version:
                raise RuntimeError(
                    f"recompute({type(module).__name__}) changes {describe(tensor)} in place, one of its inputs or "
                    "parameters, and could not be run again from it. Write it out of place, or without recompute"
                )
        conditions.settle()
        call.save(*kept, *conditions.unchanged)
    call.arguments, call.conditions, call.outputs = arguments, conditions, []
    _refuse_unknown(outputs, module)
    return _mapped(outputs, lambda output: _surface_one(plain(output), call), Tensor)


def _as_it_came(value: Tensor, source: Any) -> Any:
    """An input once more: the leaf or Parameter itself, or a Variable that comes from where it came from."""
    if type(source) is Plain:
        return value
    if type(source) is not tuple:
        return source
    variable: Any
    if mode.tracing:
        variable = value.view_as(value)
        variable.grad_v = None
    else:
        variable = value.as_subclass(Variable)
        variable._value = value
    variable._source = source
    return variable


def _source(output: Any) -> Any:
    """Where the gradient of an output goes."""
    if is_variable(output):
        return output if output._source is None else output._source
    return output if is_parameter(output) and output.grad_f else Plain(None)


_WITHOUT_TENSORS = (
    int,
    float,
    complex,
    str,
    bytes,
    type(None),
    torch.dtype,
    torch.device,
    torch.SymInt,
    torch.SymFloat,
)


def _refuse_unknown(outputs: Any, module: Module) -> None:
    """Raise for an output that may have tensors in it which nobody would see."""
    if isinstance(outputs, (tuple, list, dict)):
        for output in outputs.values() if isinstance(outputs, dict) else outputs:
            _refuse_unknown(output, module)
    elif not isinstance(outputs, (Tensor, *_WITHOUT_TENSORS)):
        raise TypeError(
            f"recompute({type(module).__name__}): its forward gave {describe(outputs)}, whose gradients would be lost: "
            "give tensors, in tuples, lists or dicts"
        )


def _mapped(x: Any, function: Callable[[Any], Any], kind: type) -> Any:
    """`x` with `function` of each instance of `kind` in its place, in tuples, lists and dicts too; those that hold none
    are given on themselves."""
    if isinstance(x, kind):
        return function(x)
    if isinstance(x, (tuple, list)):
        items = [_mapped(item, function, kind) for item in x]
        if all(new is old for new, old in zip(items, x, strict=True)):
            return x
        return type(x)(*items) if hasattr(x, "_fields") else type(x)(items)
    if isinstance(x, dict):
        found = {key: _mapped(item, function, kind) for key, item in x.items()}
        return x if all(found[key] is x[key] for key in x) else found
    return x


of_modules.call_recomputed = _call_recomputed

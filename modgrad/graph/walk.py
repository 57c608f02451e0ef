"""The backward walk: from a Variable back through the calls that made it, later calls first.

A call is always younger than the calls its inputs came from, so taking the youngest call that has a gradient means
that every gradient of its outputs has arrived. The pending calls wait in a heap: no recursion, however deep the graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Any

import torch
from torch import Tensor

from modgrad.graph.call import Call, Plain, is_variable, plain
from modgrad.graph.errors import describe
from modgrad.graph.mode import mode

_plainly = torch._C.DisableTorchFunctionSubclass
Heap = list[tuple[int, Call]]


def backward(root: Any, gradient: Any, retain: bool, create_graph: bool = False, inputs: Any = None) -> None:
    """What `Variable.backward` does; `root` is the Variable."""
    if create_graph:
        raise RuntimeError(
            "backward(create_graph=True): modgrad does not differentiate gradients. A second derivative can be had by "
            "writing the first one as a primitive of its own"
        )
    if inputs is not None:
        raise RuntimeError("backward(inputs=...): freeze the other parameters instead, with grad_f = False")
    before = mode.computing
    with _plainly():
        gradient = _first(root, gradient)
        if root._source is None:
            _deposit(root, gradient)
            return
        call, index = root._source
        call.gradients = [None] * len(call.outputs)
        call.gradients[index] = gradient
        heap: Heap = [(-call.order, call)]
        mode.computing = mode.tracing
        try:
            while heap:
                _leave(heappop(heap)[1], retain, heap)
        finally:
            mode.computing = before
            for _, call in heap:
                call.gradients = call.summed = None


def _first(root: Any, gradient: Any) -> Tensor:
    """The gradient to start from: what was given, checked, or 1 for a scalar."""
    if gradient is None:
        if root.numel() != 1:
            raise RuntimeError(
                f"backward() of a Variable of shape {tuple(root.shape)}: only a scalar can do without a gradient. "
                "Write variable.backward(gradient) with dL/dvariable, or reduce it first, as .sum() or a loss does"
            )
        return torch.ones_like(plain(root))
    if not isinstance(gradient, Tensor):
        raise TypeError(f"backward(gradient): expected a tensor of shape {tuple(root.shape)}, got {describe(gradient)}")
    if is_variable(gradient) and not mode.tracing:
        raise TypeError(
            "backward(gradient) was given a Variable: modgrad does not differentiate gradients. Write gradient.detach()"
        )
    if gradient.shape != root.shape or gradient.dtype != root.dtype:
        raise ValueError(
            f"backward(gradient): expected shape {tuple(root.shape)} and {root.dtype}, as the Variable has, "
            f"got {describe(gradient)}"
        )
    return gradient.clone()  # the caller's tensor must not end up as somebody's grad_v


def _leave(call: Call, retain: bool, heap: Heap) -> None:
    """Take the gradients of one call's outputs, ask its module for those of inputs and parameters, pass them on."""
    module = call.module
    grads: Sequence[Tensor | None] = call.gradients or ()
    call.gradients = call.summed = None
    if call.freed:
        raise RuntimeError(
            f"backward through {module} a second time: the first backward let go of what it had saved. "
            "Write backward(retain_graph=True) the first time, or add the losses and call backward once"
        )
    saved = call.saved
    for tensor, version in zip(saved, call.versions, strict=True):
        if version is not None and tensor._version != version:
            position = [tensor is other for other in saved].index(True)
            raise RuntimeError(
                f"backward of {module}: saved tensor number {position}, {describe(tensor)}, was changed in place "
                "after forward, so the gradient would be wrong. Change a clone of it, or change it after backward"
            )
    for output, grad in zip(call.outputs, grads, strict=True):
        if grad is not None and output is not None:
            variable = output[0]()
            if variable is not None:
                _deposit(variable, grad)

    results = module.backward(call, *grads) if call.wanted else ()
    of_parameters = module.parameter_gradients(call, *grads) if call.parameters else {}
    if call.kept is None and not retain:
        call.free()

    if call.wanted:
        sources = call.sources
        if type(results) is not tuple:
            results = tuple(results) if isinstance(results, list) else (results,)
        if len(results) != len(sources):
            results = _completed(results, call)
        for position, source in enumerate(sources):
            gradient = results[position]
            if gradient is None or type(source) is Plain:
                continue
            if type(source) is not tuple:
                _check(gradient, source.shape, source.dtype, module, f"input {position}")
                shared = _is_shared(gradient, grads, saved, results[:position])
                _deposit(source, gradient.clone() if shared else gradient)
                continue
            producer, index = source
            reference, shape, dtype = producer.outputs[index]
            _check(gradient, shape, dtype, module, f"input {position}")
            if reference() is not None and _is_shared(gradient, grads, saved, results[:position]):
                gradient = gradient.clone()  # it will rest in a grad_v
            _arrive(producer, index, gradient, heap)
    if of_parameters:
        parameters = call.parameters
        earlier: list[Any] = list(results)
        for name, gradient in of_parameters.items():
            parameter = parameters.get(name)
            if gradient is None or parameter is None:
                if name not in module._parameter_names:
                    raise _unknown_parameter(module, name)
                continue
            _check(gradient, parameter.shape, parameter.dtype, module, name)
            if _is_shared(gradient, grads, saved, earlier):
                gradient = gradient.clone()
            earlier.append(gradient)
            _deposit(parameter, gradient)


def _arrive(call: Call, index: int, gradient: Tensor, heap: Heap) -> None:
    """Add `gradient` to what has come for one output of `call`."""
    pending = call.gradients
    if pending is None:
        call.gradients = pending = [None] * len(call.outputs)
        heappush(heap, (-call.order, call))
    earlier = pending[index]
    if earlier is None:
        pending[index] = gradient
    elif call.summed is not None and index in call.summed:
        earlier.add_(gradient)  # the walk made this sum, nobody else has seen it
    else:
        pending[index] = earlier + gradient
        call.summed = (call.summed or set()) | {index}


def _deposit(leaf: Any, gradient: Tensor) -> None:
    """Leave `gradient` in the grad_v of a Parameter or a Variable, on top of what is there."""
    if mode.tracing:
        leaf.grad_v = gradient if leaf.grad_v is None else leaf.grad_v + gradient
    else:
        earlier = leaf.grad  # for a Parameter the tensor's own slot, for a Variable grad_v
        leaf.grad = gradient if earlier is None else earlier + gradient


def _is_shared(
    gradient: Tensor, grads: Sequence[Tensor | None], saved: Sequence[Any], earlier: Sequence[Any]
) -> bool:
    """Whether somebody else may hold this memory: what rests in a grad_v must be nobody else's, as it may be changed.

    A formula may give back the upstream gradient itself or a view of it, something saved, or one tensor twice.
    """
    if mode.tracing:  # fake tensors have no memory; the traced program is made functional
        return False
    if type(gradient) is not Tensor or gradient._is_view():
        return True
    memory = gradient.data_ptr()
    for other in (*grads, *saved, *earlier):
        if isinstance(other, Tensor) and other.data_ptr() == memory:
            return True
    return False


def _check(gradient: Any, shape: torch.Size, dtype: torch.dtype, module: Any, what: str) -> None:
    """Raise unless `gradient` is a plain tensor of this shape and dtype."""
    if not isinstance(gradient, Tensor):
        raise TypeError(
            f"backward of {module}: the gradient of {what} is {describe(gradient)}, expected a tensor "
            f"of shape {tuple(shape)} and {dtype}, or None"
        )
    if gradient.shape != shape or gradient.dtype != dtype:
        raise ValueError(
            f"backward of {module}: the gradient of {what} has shape {tuple(gradient.shape)} and {gradient.dtype}, "
            f"expected {tuple(shape)} and {dtype}, as {what} has. "
            "Where forward broadcast it, sum the gradient to its shape; where forward cast it, cast back"
        )
    if is_variable(gradient) and not mode.tracing:
        raise TypeError(
            f"backward of {module}: the gradient of {what} is a Variable, but modgrad does not differentiate "
            "gradients. Inside backward use functions on plain tensors, not modules with parameters to train"
        )


def _completed(results: tuple[Any, ...], call: Call) -> tuple[Any, ...]:
    """`results` with None for the trailing inputs that are not tensors; any other count raises."""
    sources = call.sources
    rest = sources[len(results) :]
    if len(results) > len(sources) or any(type(s) is not Plain or s.reference is not None for s in rest):
        raise ValueError(
            f"backward of {call.module} gave {len(results)} gradients for {len(sources)} inputs: "
            "give one for each input, in order, None where there is none"
        )
    return results + (None,) * len(rest)


def _unknown_parameter(module: Any, name: str) -> Exception:
    return ValueError(
        f"parameter_gradients of {module} gave a gradient for {name!r}; "
        f"its own parameters are {', '.join(map(repr, module._parameter_names)) or 'none'}"
    )

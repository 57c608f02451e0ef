"""The backward walk: from a Variable back through the calls that made it, later calls first.

A call is always younger than the calls its inputs came from, so taking the youngest call that has a gradient means
that every gradient of its outputs has arrived. The pending calls wait in a heap: no recursion, however deep the graph.
"""

from __future__ import annotations

from heapq import heappop, heappush
from sys import getrefcount
from typing import Any

import torch
from torch import Tensor

from modgrad.graph.again import ComputedAgain
from modgrad.graph.arrivals import Arrivals
from modgrad.graph.autocast import torch_autocast_off, torch_casts
from modgrad.graph.call import Call, Onward, Plain, is_parameter, is_variable, nobody
from modgrad.graph.errors import describe
from modgrad.graph.mode import mode, switched

LARGE = 2**14  # values of a gradient from which on writing into it gains more than asking whether that may be
_plainly = torch._C.DisableTorchFunctionSubclass
_is_dense = torch.ops.aten.is_non_overlapping_and_dense.default
Heap = list[tuple[int, Call]]


def backward(
    root: Any, gradient: Any, retain: bool, create_graph: bool = False, inputs: Any = None, arrived: Any = None
) -> None:
    """What `Variable.backward` does; `root` is the Variable.

    arrived: called with each parameter as soon as its gradient is complete, and no call needs its value any more.
    """
    if create_graph:
        raise RuntimeError(
            "backward(create_graph=True): modgrad does not differentiate gradients. A second derivative can be had by "
            "writing the first one as a primitive of its own"
        )
    if inputs is not None:
        raise RuntimeError("backward(inputs=...): freeze the other parameters instead, with grad_f = False")
    with _plainly():
        gradient = _first(root, gradient)
        if root._source is None:
            _deposit(root, gradient)
            return
        call, index = root._source
        call.gradients = [None] * len(call.outputs)
        call.gradients[index] = gradient
        del gradient  # the walk's alone from here on
        heap: Heap = [(call.order, call)]
        arrivals = None if arrived is None else Arrivals(call, arrived)
        try:
            if mode.tracing:
                with switched(computing=True):
                    _walk(heap, retain, arrivals)
            elif torch_casts():
                with torch_autocast_off():
                    _walk(heap, retain, arrivals)
            else:
                _walk(heap, retain, arrivals)
            if arrivals is not None:
                arrivals.end()
        finally:
            for _, call in heap:  # empty, unless an error ended the walk
                call.gradients = call.summed = None


def _first(root: Any, gradient: Any) -> Tensor:
    """The gradient to start from: what was given, checked, or 1 for a scalar."""
    if gradient is None:
        if root.numel() != 1:
            raise RuntimeError(
                f"backward() of a Variable of shape {tuple(root.shape)}: only a scalar can do without a gradient. "
                "Write variable.backward(gradient) with dL/dvariable, or reduce it first, as .sum() or a loss does"
            )
        return torch.ones_like(root._value if hasattr(root, "_value") else root)
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


def _walk(heap: Heap, retain: bool, arrivals: Arrivals | None) -> None:
    """Take the pending calls, latest first."""
    unshared = not mode.tracing  # fake tensors have no memory to share, and the traced program is made functional
    while heap:
        call = heappop(heap)[1]
        if call.summed is not None:
            del call.summed
        _to_held(call)
        _leave(call, heap, retain, unshared, arrivals)


def _to_held(call: Call) -> None:
    """Leave what has arrived for the call's outputs with those of their Variables that somebody holds."""
    for output, grad in zip(call.outputs, call.gradients):  # type: ignore[arg-type]  # noqa: B905 (alike by construction)
        if grad is not None:
            variable = output[0]()  # type: ignore[index]
            if variable is not None:
                _deposit(variable, grad)


def _leave(  # noqa: PLR0912, PLR0915
    call: Call, heap: Heap, retain: bool, unshared: bool, arrivals: Arrivals | None
) -> None:
    """Ask a call's module for the gradients of inputs and parameters, and pass them on.

    A value that no Variable was made of has one consumer, so its producer need not wait for others: the loop goes
    straight on to it. Every microsecond in here is paid for every layer of every step; and a gradient that was passed
    on must not be held any longer, as it may be as large as an activation.
    """
    grads: Any = call.gradients
    call.gradients = None
    grad: Any = grads[0] if len(grads) == 1 else tuple(grads)
    del grads
    while True:
        if call.freed:
            raise _stale(call)
        position = 0
        for tensor in call.saved:  # by position, as a zip would take longer than the comparison
            version = call.versions[position]
            if version is not None and tensor._version != version:
                if type(tensor) is not ComputedAgain:
                    raise _stale(call)
                tensor.put_back()
            position += 1  # noqa: SIM113
        module = call.module
        results = of_parameters = None
        if type(grad) is tuple:
            if call.wanted:
                results = module.backward(call, *grad)
            if call.parameters:
                of_parameters = module.parameter_gradients(call, *grad)
        else:
            if call.wanted:
                if module.backward_ is None or not unshared or grad.numel() < LARGE or not _is_own(grad):
                    results = module.backward(call, grad)
                else:
                    results, grad = module.backward_(call, grad), None
            if call.parameters:
                if module.parameter_gradients_ is None or not unshared or not _at_rest(call.parameters):
                    of_parameters = module.parameter_gradients(call, grad)
                else:
                    module.parameter_gradients_(call, grad, {name: p.grad for name, p in call.parameters.items()})
        if not retain:
            call.free()
        if of_parameters is not None:
            _to_parameters(call, of_parameters, unshared)
        sources = call.sources
        if type(results) is Tensor and len(sources) == 1:
            source = sources[0]
            if type(source) is tuple:
                producer, index = source
                reference, shape, dtype = producer.outputs[index]
                if reference is nobody and results.shape == shape and results.dtype is dtype:
                    if arrivals is not None:
                        arrivals.left(call)
                    call, grad = producer, results
                    continue
        if call.wanted:
            if type(results) is Onward:
                if arrivals is not None:
                    arrivals.grown(results.call)
                    arrivals.left(call)
                call, results = results
            results = tuple(results) if isinstance(results, (tuple, list)) else (results,)
            _to_inputs(call, results, heap, unshared)
        if arrivals is not None:
            arrivals.left(call)
        return


def _to_inputs(call: Call, results: tuple[Any, ...], heap: Heap, unshared: bool) -> None:
    """Leave each gradient with its leaf, or add it to what has arrived for the call that made the input."""
    module, sources = call.module, call.sources
    if len(results) != len(sources):
        results = _completed(results, call)
    for position, source in enumerate(sources):
        gradient = results[position]
        if gradient is None or type(source) is Plain:
            continue
        if type(source) is not tuple:
            _check(gradient, source.shape, source.dtype, module, f"input {position}")
            if unshared and _is_shared(gradient):
                gradient = gradient.clone()
            _deposit(source, gradient)
            continue
        producer, index = source
        reference, shape, dtype = producer.outputs[index]
        if type(gradient) is not Tensor or gradient.shape != shape or gradient.dtype is not dtype:
            _check(gradient, shape, dtype, module, f"input {position}")
        if unshared and reference() is not None and _is_shared(gradient):
            gradient = gradient.clone()  # it will rest in a grad_v
        pending = producer.gradients
        if pending is None:
            producer.gradients = pending = [None] * len(producer.outputs)
            heappush(heap, (producer.order, producer))
        if pending[index] is None:
            pending[index] = gradient
        else:
            _add(producer, index, gradient)


def _to_parameters(call: Call, gradients: dict[str, Any], unshared: bool) -> None:
    """Leave the gradients with the parameters of these names."""
    module, parameters = call.module, call.parameters
    for name in gradients:  # noqa: PLC0206 (items() would hold a reference of its own, see `_is_shared`)
        gradient = gradients[name]
        if gradient is None or name not in parameters:
            if name not in module._parameter_names:
                raise ValueError(
                    f"parameter_gradients of {module} gave a gradient for {name!r}; "
                    f"its own parameters are {', '.join(map(repr, module._parameter_names)) or 'none'}"
                )
            continue
        parameter = parameters[name]
        if unshared and type(gradient) is Tensor and parameter.grad is None:
            if _is_shared(gradient):
                gradient = gradient.clone()
            try:
                parameter.grad = gradient  # which takes nothing but the parameter's shape, dtype and device
            except RuntimeError:
                _check(gradient, parameter.shape, parameter.dtype, module, name)
                raise
        else:
            _check(gradient, parameter.shape, parameter.dtype, module, name)
            _deposit(parameter, gradient)


def _add(call: Call, index: int, gradient: Tensor) -> None:
    """Add a further gradient to what has come for one output of `call`."""
    pending: Any = call.gradients
    if call.summed is not None and index in call.summed:
        pending[index].add_(gradient)  # the walk made this sum, nobody else has seen it
    else:
        pending[index] = pending[index] + gradient
        call.summed = (call.summed or set()) | {index}


def _deposit(leaf: Any, gradient: Tensor) -> None:
    """Leave `gradient` in the grad_v of a Parameter or a Variable, on top of what is there.

    A Parameter's that nobody else holds is added to in place: another of its size may be more than the rest of the step
    takes.
    """
    earlier = leaf.grad_v
    if earlier is None:
        leaf.grad_v = gradient
    elif is_parameter(leaf) and not mode.tracing and _holders(earlier) == _AT_REST:
        earlier.add_(gradient)
    else:
        leaf.grad_v = earlier + gradient


def _references(gradient: Tensor) -> int:
    return getrefcount(gradient)


def _is_shared(gradient: Tensor) -> bool:
    """Whether somebody else holds this tensor or its memory. What rests in a grad_v may be changed, as by clipping,
    so it must be nobody else's; a formula may give back the upstream gradient, a view of it, or one tensor twice.

    The caller has it in one container and one variable.
    """
    return (
        getrefcount(gradient) > _ALONE
        or gradient._use_count() > 1  # type: ignore[attr-defined]
        or _storage_use_count(_storage_id(gradient)) > 1
    )


def _holders(gradient: Tensor) -> tuple[int, int, int]:
    """What holds a tensor and its memory. The caller has it in one variable."""
    return (
        getrefcount(gradient),
        gradient._use_count(),  # type: ignore[attr-defined]
        _storage_use_count(_storage_id(gradient)),
    )


def _at_rest(parameters: dict[str, Any]) -> bool:
    """Whether each of these has a gradient that nobody else holds, which may be added to where it is."""
    for parameter in parameters.values():
        gradient = parameter.grad
        if gradient is None or _holders(gradient) != _AT_REST:
            return False
    return True


def _count_at_rest() -> tuple[int, int, int]:
    """What `_holders` gives for the gradient of a tensor that nobody else holds."""
    leaf = torch.empty(1)
    leaf.grad = torch.empty(1)
    gradient: Any = leaf.grad
    return _holders(gradient)


def _is_own(gradient: Tensor) -> bool:
    """Whether the walk alone holds this tensor and its memory. The caller has it in one variable."""
    return (
        getrefcount(gradient) == _OWN
        and gradient._use_count() == 1  # type: ignore[attr-defined]
        and _storage_use_count(_storage_id(gradient)) == 1
        and _is_dense(gradient)
    )


def _count_own() -> int:
    """The references that `_is_own` sees of a tensor that nobody else holds."""
    gradient = torch.empty(1)
    return _references(gradient)


def _count_alone() -> int:
    """The references that `_is_shared` sees of a tensor that nobody else holds, which differs among Pythons."""
    container = {"": torch.empty(1)}
    gradient = container[""]
    return _references(gradient)


_storage_id: Any = torch._C._storage_id  # type: ignore[attr-defined]
_storage_use_count = torch._C._storage_Use_Count
_ALONE = _count_alone()
_OWN = _count_own()
_AT_REST = _count_at_rest()


def _stale(call: Call) -> RuntimeError:
    """What is to be raised for a call whose saved tensors are gone or changed."""
    if call.freed:
        return RuntimeError(
            f"backward through {call.module} a second time: the first backward let go of what it had saved. "
            "Write backward(retain_graph=True) the first time, or add the losses and call backward once"
        )
    changed = [
        f"{position} ({describe(tensor)})"
        for position, (tensor, version) in enumerate(zip(call.saved, call.versions, strict=True))
        if isinstance(tensor, Tensor) and version is not None and tensor._version != version
    ]
    return RuntimeError(
        f"backward of {call.module}: saved tensor number {', '.join(changed)} was changed in place after forward, "
        "so the gradient would be wrong. Change a clone of it, or change it after backward"
    )


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

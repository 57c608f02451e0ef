"""What every primitive must leave alone; that it traces; and the table itself."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from modgrad import functional, nn
from modgrad.graph import walk
from modgrad.graph.tracing import Tracing, substituted
from tests.cases import CASES, Case
from tests.contract.harness import (
    EXACT,
    PRIMITIVES,
    assert_same,
    backward,
    drawn,
    every,
    floats,
    found,
    leaves,
    one,
    pair,
    upstream_of,
    weighted,
)

# PyTorch's own convolution warns of what it does for an even kernel; modgrad's pads in the layer.
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")


@every(first=True)
def test_inputs_upstream_and_parameters_unchanged(case: Case) -> None:
    module, _ = pair(case)
    inputs = case.inputs[0]()
    x = leaves(inputs)
    y = floats(module(*x))
    upstream = upstream_of(y)
    watched = [v.detach() for v in x] + upstream + [p.data for p in module.parameters()]
    before = [(v.clone(), v._version) for v in watched]
    backward(y, upstream)
    for value, (copied, version) in zip(watched, before, strict=True):
        assert torch.equal(value, copied)
        assert value._version == version
    held = [p.grad_v for p in module.parameters()] + [v.grad_v for v in x if isinstance(v, nn.Variable)]
    memories = {t.untyped_storage().data_ptr() for t in watched}
    own = [t.untyped_storage().data_ptr() for t in held if t is not None and t.numel()]
    assert len(set(own)) == len(own), "two gradients share memory"
    assert not memories & set(own), "a gradient shares memory with something that is not its own"


@every(first=True)
def test_a_changed_saved_value_is_found(case: Case) -> None:
    """Whatever a primitive saved: changing it before backward raises."""
    module, _ = pair(case)
    x = leaves(case.inputs[0]())
    y = one(module(*x))
    calls, seen = [y._source[0]], set()
    checked = 0
    while calls:
        call = calls.pop()
        calls += [s[0] for s in call.sources if type(s) is tuple]
        if call.order in seen:
            continue
        seen.add(call.order)
        for tensor in call.saved:
            if isinstance(tensor, Tensor) and tensor.numel():
                with torch._C.DisableTorchFunctionSubclass():
                    tensor.copy_(tensor.clone())
                with pytest.raises(RuntimeError, match="changed in place after forward"):
                    y.backward(torch.ones_like(y), retain_graph=True)
                checked += 1
                call.versions = [t._version if isinstance(t, Tensor) else None for t in call.saved]
    assert bool(checked) == case.saves


@every(first=True)
def test_repeatable(case: Case) -> None:
    """Backward twice through a kept graph gives the same again, added up."""
    module, _ = pair(case)
    x = leaves(case.inputs[0]())
    y = one(module(*x))
    (upstream,) = upstream_of([y])
    y.backward(upstream, retain_graph=True)
    first = {name: None if g is None else g.clone() for name, g in found(module, x).items()}
    y.backward(upstream)
    assert_same(found(module, x), {n: None if g is None else 2 * g for n, g in first.items()}, **EXACT)
    with pytest.raises(RuntimeError, match="second time"):
        y.backward(upstream)


@every(first=True)
def test_survives_copying(case: Case) -> None:
    """A deep copy is independent and computes the same."""
    module, _ = pair(case)
    module.eval()
    twin = copy.deepcopy(module)
    inputs = case.inputs[0]()
    with nn.no_grad():
        for mine, theirs in zip(floats(module(*inputs)), floats(twin(*inputs)), strict=True):
            assert torch.equal(mine, theirs)
    for mine, theirs in zip(module.parameters(), twin.parameters(), strict=True):
        assert mine.data_ptr() != theirs.data_ptr()


# Tracing


@every(sample=True)
@pytest.mark.parametrize("formulas", [False, True], ids=["kernels", "formulas"])
def test_survives_tracing(case: Case, formulas: bool) -> None:
    """Forward and walk, traced with fake tensors to one plain program, give the same numbers."""
    module, _ = pair(case)
    inputs = case.inputs[0]()
    state = {name: value.clone() for name, value in module.state_dict().items()}
    differentiable = [i for i, x in enumerate(inputs) if x.is_floating_point()]
    with nn.no_grad():
        upstream = upstream_of(floats(copy.deepcopy(module)(*inputs)))

    def step(state: dict[str, Tensor], inputs: list[Tensor], upstream: list[Tensor]) -> Any:
        with Tracing(), substituted(module, state) as parameters:
            x = [nn.Variable(v) if i in differentiable else v for i, v in enumerate(inputs)]
            y = floats(module(*x))
            weighted(y, upstream).backward()
            wanted = [parameters[name].grad_v for name, _ in module.named_parameters()]
            return [*y, *(x[i].grad_v for i in differentiable), *wanted]

    with _bodies(formulas):
        program = make_fx(step, tracing_mode="fake")(state, list(inputs), upstream)
        traced = drawn(program, {name: value.clone() for name, value in state.items()}, list(inputs), upstream)
        x = leaves(inputs)
        y = floats(drawn(module, *x))
        weighted(y, upstream).backward()
    expected = [*(v.detach() for v in y), *found(module, x).values()]
    for mine, theirs in zip(traced, expected, strict=True):
        assert (mine is None) == (theirs is None)
        if theirs is not None:
            torch.testing.assert_close(mine, theirs, **EXACT)


def _bodies(formulas: bool) -> Any:
    return functional.formulas() if formulas else nn.keep_values()


# The table itself


def test_every_primitive_has_arow() -> None:
    assert set(PRIMITIVES) == {name for case in CASES for name in case.primitives}


def _calls(outputs: list[Any]) -> Iterator[str]:
    pending = list(outputs)
    while pending:
        variable = pending.pop()
        if getattr(variable, "_source", None) is not None:
            yield type(variable.previous_module).__name__
            pending += [v for v in variable.previous_inputs if isinstance(v, nn.Variable)]


@every(sample=True)
def test_rows_run_the_primitives_that_they_name(case: Case) -> None:
    module, _ = pair(case)
    ran = set(_calls(floats(module(*leaves(case.inputs[0]())))))
    assert set(case.primitives) <= ran


def test_counting_of_references() -> None:
    """What the walk takes for the only reference to a tensor is that, on this Python."""
    container = [torch.ones(3)]
    gradient = container[0]
    assert not walk._is_shared(gradient)
    other = gradient
    assert walk._is_shared(gradient)
    del other
    view = gradient.detach()
    assert walk._is_shared(gradient)
    del view
    assert not walk._is_shared(gradient)

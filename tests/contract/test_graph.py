"""What the graph must get right around every primitive."""

from __future__ import annotations

from typing import Any

import pytest
from torch import Tensor

from modgrad import nn
from tests.cases import CASES, Case
from tests.contract.harness import (
    EXACT,
    PRIMITIVES,
    assert_same,
    backward,
    compare,
    every,
    floats,
    found,
    leaves,
    one,
    pair,
    twin_leaves,
    upstream_of,
)

# PyTorch's own convolution warns of what it does for an even kernel; modgrad's pads in the layer.
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")


@every(first=True)
def test_called_twice(case: Case) -> None:
    a, b = case.inputs[0](), case.inputs[0]()
    n = len(a)
    compare(case, a + b, lambda module, x: one(module(*x[:n])) * 2 + one(module(*x[n:])))


@every(first=True)
def test_unused_call(case: Case) -> None:
    def use(module: Any, x: list[Any]) -> Any:
        module(*x)
        return module(*x)

    compare(case, case.inputs[0](), use)


@every(first=True)
def test_diamond(case: Case) -> None:
    def use(module: Any, x: list[Any]) -> Any:
        y = one(module(*x))
        return y * 2 + y.exp() * 0.1

    compare(case, case.inputs[0](), use)


@every(first=True)
def test_input_used_elsewhere(case: Case) -> None:
    def use(module: Any, x: list[Any]) -> Any:
        return one(module(*x)).sum() + (x[0] * 3).sum()

    compare(case, case.inputs[0](), use)


@every(first=True)
def test_one_gradient_object_sent_to_three_branches(case: Case) -> None:
    """Addition gives its gradient object on as it came: the same tensor reaches all three calls."""

    def use(module: Any, x: list[Any]) -> Any:
        return one(module(*x)) + one(module(*x)) + one(module(*x))

    compare(case, case.inputs[0](), use)


@every(first=True)
def test_inner_value(case: Case) -> None:
    """In the middle of a graph, where its input is a value made by other calls, used by two."""

    def use(module: Any, x: list[Any]) -> Any:
        inner = [v * 1.5 if v.is_floating_point() else v for v in x]
        return one(module(*inner)).sum() * inner[0].double().mean()

    compare(case, case.inputs[0](), use)


MANY_OUTPUTS = [c for c in CASES if isinstance(c.make().double()(*leaves(c.inputs[0]())), tuple)]


@pytest.mark.parametrize("case", MANY_OUTPUTS, ids=str)
def test_unused_output(case: Case) -> None:
    """Each output by itself: the others get no gradient."""
    for which in range(len(floats(case.make().double()(*leaves(case.inputs[0]()))))):
        compare(case, case.inputs[0](), lambda module, x, i=which: floats(module(*x))[i])


WITH_PARAMETERS = [c for c in CASES if any(True for _ in c.make().parameters())]


@pytest.mark.parametrize("case", WITH_PARAMETERS, ids=str)
def test_tied_parameter(case: Case) -> None:
    """Two modules share their parameters: the gradients of both arrive, once each."""
    module, twin = pair(case)
    other, other_twin = pair(case)
    for name, _ in module.named_parameters():
        owner, _, attribute = name.rpartition(".")
        setattr(other.get_submodule(owner), attribute, module.get_parameter(name))
        setattr(other_twin.get_submodule(owner), attribute, twin.get_parameter(name))
    a, b = case.inputs[0](), case.inputs[0]()
    x, x_twin = leaves(a), twin_leaves(a)
    z, z_twin = leaves(b), twin_leaves(b)
    y, y_twin = one(module(*x)) * 2 + one(other(*z)), one(twin(*x_twin)) * 2 + one(other_twin(*z_twin))
    upstream = upstream_of([y])
    backward([y], upstream)
    backward([y_twin], upstream)
    assert_same(found(module, [*x, *z]), found(twin, [*x_twin, *z_twin]), **EXACT)


@pytest.mark.parametrize("case", WITH_PARAMETERS, ids=str)
def test_frozen_parameters(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    module, twin = pair(case)
    names = [name for name, _ in module.named_parameters()]
    for frozen in names:  # one by one: the others' gradients are right
        for name, parameter in module.named_parameters():
            parameter.grad_f, parameter.grad_v = name != frozen, None
            twin.get_parameter(name).grad = None
        inputs = case.inputs[0]()
        x, x_twin = leaves(inputs), twin_leaves(inputs)
        y, y_twin = one(module(*x)), one(twin(*x_twin))
        if type(y) is Tensor:
            assert not any(p.grad_f for p in module.parameters()), "something was to be trained"
            continue
        upstream = upstream_of([y])
        backward([y], upstream)
        backward([y_twin], upstream)
        theirs = found(twin, x_twin)
        assert module.get_parameter(frozen).grad_v is None
        assert_same(found(module, x) | {frozen: None}, theirs | {frozen: None}, **EXACT)
    module.freeze()

    def never(*_: Any) -> Any:
        raise AssertionError("a frozen primitive was asked for its parameters' gradients")

    for name in case.primitives:
        monkeypatch.setattr(PRIMITIVES[name], "parameter_gradients", never, raising=False)
    x = leaves(case.inputs[0]())
    if isinstance(x[0], nn.Variable):
        y = one(module(*x))
        backward([y], upstream_of([y]))
        assert x[0].grad_v is not None
    assert type(one(module(*case.inputs[0]()))) is Tensor, "nothing to train: it leaves no record"


@every(first=True)
def test_plain_inputs_and_no_grad_leave_no_record(case: Case) -> None:
    module, _ = pair(case)
    for parameter in module.parameters():
        parameter.grad_f = False
    inputs = case.inputs[0]()
    assert all(type(y) is Tensor for y in floats(module(*inputs)))
    with nn.no_grad():
        assert all(type(y) is Tensor for y in floats(module(*leaves(inputs))))

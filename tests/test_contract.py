"""The contract: what every primitive is held to, over the table of `cases`.

PyTorch's autograd is the oracle. Upstream gradients are random: a sum or ones upstream would test softmax and the norms
with 0 against 0. Tolerances in float64 are a few hundred roundings (eps 2.2e-16) of values around 1; in float32 and
bfloat16 they are PyTorch's own for comparing two orders of summation.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from importlib import import_module
from pkgutil import walk_packages
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from modgrad import functional, models, nn
from modgrad.graph import walk
from modgrad.graph.tracing import Tracing, substituted
from tests.cases import CASES, FIRST, Case, Inputs, row

# PyTorch's own convolution warns of what it does for an even kernel; modgrad's pads in the layer.
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
_FOUND = [*walk_packages(nn.__path__, "modgrad.nn."), *walk_packages(models.__path__, "modgrad.models.")]
_FILES = [import_module(found.name) for found in _FOUND]
# Every primitive of the package by name, but for those that are only there to be derived from.
_ALL = {v for file in _FILES for v in vars(file).values() if isinstance(v, type) and issubclass(v, nn.Primitive)}
PRIMITIVES = {
    v.__name__: v
    for v in _ALL
    if v.__module__.startswith(("modgrad.nn.", "modgrad.models."))
    and (not v.__subclasses__() or getattr(nn, v.__name__, None) is v)
}
EXACT = {"rtol": 1e-12, "atol": 1e-13}
CLOSE: dict[torch.dtype, dict[str, float]] = {torch.float64: EXACT}  # PyTorch's defaults for the others


@pytest.fixture(autouse=True)
def in_place_at_every_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """The walk writes into gradients that it alone holds; here however small, that the contract holds there too."""
    monkeypatch.setattr(walk, "LARGE", 0)


def every(inputs: bool = False, smooth: bool = False, first: bool = False, sample: bool = False) -> Any:
    """Run a test for each case (or each primitive's first); with `inputs`, for each input of each (smooth) one.

    sample: all but each primitive's first case and first input is left to `make test-all`.
    """
    if not inputs:
        return pytest.mark.parametrize(
            "case", [row(c, False) for c in FIRST] if first else [row(c, sample and c not in FIRST) for c in CASES]
        )
    cases = [case for case in CASES if (case.smooth and case.is_derivative) or not smooth]
    rows = [
        row(c, sample and (c not in FIRST or i > 0), make, name=f"{c}-{i}")
        for c in cases
        for i, make in enumerate([*c.inputs, *_empty(c)])
    ]
    return pytest.mark.parametrize(("case", "make"), rows)


def _empty(case: Case) -> list[Callable[[], Inputs]]:
    return [case.empty] if case.empty is not None else []


def pair(case: Case, dtype: torch.dtype = torch.float64) -> tuple[nn.Module, torch.nn.Module]:
    """The thing and its twin, with the same random parameters and buffers."""
    module, twin = case.make().to(dtype), case.make_twin().to(dtype)
    with torch.no_grad():
        for name, value in twin.state_dict().items():
            if value.is_floating_point() and name != "weight_of_classes":
                value.copy_(torch.rand_like(value) + 0.5)  # positive, as a variance must be
    module.load_state_dict(twin.state_dict())
    module.train(case.training)
    twin.train(case.training)
    return module, twin


def cast(inputs: Inputs, dtype: torch.dtype) -> Inputs:
    return tuple(x.to(dtype) if x.is_floating_point() else x for x in inputs)


def leaves(inputs: Inputs) -> list[Any]:
    """Variables of the float inputs, on memory of their own; the others as they are."""
    return [nn.Variable(x.clone()) if x.is_floating_point() else x for x in inputs]


def twin_leaves(inputs: Inputs) -> list[Tensor]:
    return [x.clone().requires_grad_() if x.is_floating_point() else x for x in inputs]


def floats(outputs: Any) -> list[Any]:
    """The outputs that have gradients."""
    outputs = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
    return [y for y in outputs if y.is_floating_point()]


def upstream_of(outputs: list[Any]) -> list[Tensor]:
    return [torch.randn(y.shape, dtype=torch.float64).to(y.dtype) for y in outputs]


def weighted(outputs: list[Any], upstream: list[Tensor]) -> Any:
    """A scalar whose gradient with respect to each output is the one given."""
    total: Any = 0
    for y, grad in zip(outputs, upstream, strict=True):
        total = (y * grad).sum() + total
    return total


def drawn(use: Callable[..., Any], *arguments: Any) -> Any:
    """`use(*arguments)`, with the same random numbers to draw each time: modgrad's dropout draws as PyTorch's does."""
    torch.manual_seed(1)
    return use(*arguments)


def backward(outputs: Any, upstream: list[Tensor]) -> None:
    if len(upstream) == 1:
        outputs[0].backward(upstream[0])
    else:
        weighted(outputs, upstream).backward()


def found(module: Any, inputs: list[Any]) -> dict[str, Tensor | None]:
    """The gradients of inputs and parameters, by number and name."""
    gradients = {str(i): x.grad for i, x in enumerate(inputs) if x.is_floating_point()}
    return gradients | {name: p.grad for name, p in module.named_parameters()}


def assert_same(mine: dict[str, Any], theirs: dict[str, Any], **tolerance: float) -> None:
    assert mine.keys() == theirs.keys()
    for name, gradient in theirs.items():
        expected = torch.zeros_like(mine[name]) if gradient is None and mine[name] is not None else gradient
        if expected is None or mine[name] is None:
            assert expected is None or not expected.any(), f"{name}: no gradient, expected {expected}"
            continue
        torch.testing.assert_close(mine[name], expected, msg=lambda m, n=name: f"{n}: {m}", **tolerance)


def compare(
    case: Case,
    inputs: Inputs,
    use: Callable[[Any, list[Any]], Any] = lambda module, x: module(*x),
    dtype: torch.dtype = torch.float64,
) -> None:
    """Values and gradients of `use(module, inputs)`, against PyTorch's."""
    module, twin = pair(case, dtype)
    x, x_twin = leaves(cast(inputs, dtype)), twin_leaves(cast(inputs, dtype))
    y, y_twin = floats(drawn(use, module, x)), floats(drawn(use, twin, x_twin))
    tolerance = CLOSE.get(dtype, {})
    for mine, theirs in zip(y, y_twin, strict=True):
        torch.testing.assert_close(mine.detach(), theirs.detach(), equal_nan=True, **tolerance)
    upstream = upstream_of(y)
    backward(y, upstream)
    backward(y_twin, upstream)
    assert_same(found(module, x), found(twin, x_twin), equal_nan=True, **tolerance)
    for name, buffer in module.named_buffers():
        torch.testing.assert_close(buffer, twin.get_buffer(name), **tolerance)


def one(outputs: Any) -> Any:
    """A single float output of a module that may have several."""
    return floats(outputs)[0]


# Values and gradients


@every(inputs=True)
def test_matches_pytorch(case: Case, make: Callable[[], Inputs]) -> None:
    compare(case, make())


@every(inputs=True, sample=True)
def test_matches_pytorch_by_formulas(case: Case, make: Callable[[], Inputs]) -> None:
    with functional.formulas():
        compare(case, make())


@pytest.mark.parametrize(
    ("case", "dtype"), [row(c, c not in FIRST, d, name=f"{c}-{d}") for c in CASES for d in c.dtypes]
)
def test_matches_pytorch_in_other_dtypes(case: Case, dtype: torch.dtype) -> None:
    compare(case, case.inputs[0](), dtype=dtype)


@every(inputs=True, smooth=True, sample=True)
def test_matches_central_differences(case: Case, make: Callable[[], Inputs]) -> None:
    """Along a random direction through all inputs and parameters: (L(+h) - L(-h)) / 2h is the sum of grad * direction.

    With h = 1e-6 the truncation is about h^2 = 1e-12 of the third derivative, the rounding 1e-16 / h = 1e-10.
    """
    module, _ = pair(case)
    inputs = make()
    buffers = [b.clone() for b in module.buffers()]
    x = leaves(inputs)
    y = floats(drawn(module, *x))
    upstream = upstream_of(y)
    backward(y, upstream)
    moved = [v.detach() for v in x if isinstance(v, nn.Variable)] + [p.data for p in module.parameters()]
    gradients = list(found(module, x).values())
    directions = [torch.randn_like(value) for value in moved]
    expected = sum(float((g * d).sum()) for g, d in zip(gradients, directions, strict=True) if g is not None)
    starts = [value.clone() for value in moved]

    def loss_at(h: float) -> float:
        for value, start, direction in zip(moved, starts, directions, strict=True):
            value.copy_(start + h * direction)
        for buffer, start in zip(module.buffers(), buffers, strict=True):
            buffer.copy_(start)
        with nn.no_grad():
            return float(sum((y * u).sum() for y, u in zip(floats(drawn(module, *x)), upstream, strict=True)))

    measured = (loss_at(1e-6) - loss_at(-1e-6)) / 2e-6
    assert measured == pytest.approx(expected, rel=1e-6, abs=1e-7)


@every(sample=True)
def test_odd_memory(case: Case) -> None:
    """Inputs and upstream that are not contiguous: every other element of something larger."""

    def spread(x: Tensor) -> Tensor:
        wide = torch.full((*x.shape, 2), 7).to(x.dtype)
        wide[..., 0] = x
        return wide[..., 0]

    module, twin = pair(case)
    inputs = case.inputs[0]()
    x = [nn.Variable(spread(v)) if v.is_floating_point() else spread(v) for v in inputs]
    x_twin = twin_leaves(inputs)
    y, y_twin = floats(drawn(module, *x)), floats(drawn(twin, *x_twin))
    upstream = upstream_of(y)
    backward(y, [spread(u) for u in upstream])
    backward(y_twin, upstream)
    assert_same(found(module, x), found(twin, x_twin), **EXACT)


# What the graph must get right around it


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


# What it must leave alone


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

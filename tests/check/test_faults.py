"""Planted faults are found, and the guilty one is named, and no other."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from modgrad import check, nn
from modgrad.nn.operators import arithmetic


class Net(nn.Module):
    """Ten layers, square everywhere (4 samples, 4 features), so that a transposed gradient has the right shape."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(4, 4),
            nn.Tanh(),
            nn.Linear(4, 4),
            nn.ReLU(),
            nn.Linear(4, 4),
            nn.Sigmoid(),
            nn.Linear(4, 4),
            nn.LogSoftmax(1),
            nn.Linear(4, 4),
            nn.Softmax(1),
        )

    def forward(self, x: Any) -> Any:
        return self.body(x)


Change = Callable[[Tensor], Any]


def wrong(layer: Any, change: Change, parameter: str | None = None) -> Any:
    """`layer`, except that it states something else for the gradient of its input, or of `parameter`."""
    right = type(layer)

    class Wrong(right):  # type: ignore[misc, valid-type]
        def backward(self, call: Any, *grads: Any) -> Any:
            gradient = super().backward(call, *grads)
            return gradient if parameter else change(gradient)

        def parameter_gradients(self, call: Any, *grads: Any) -> Any:
            gradients = super().parameter_gradients(call, *grads)
            return {name: change(g) if name == parameter else g for name, g in gradients.items()}

    Wrong.__name__ = right.__name__
    planted = Wrong.__new__(Wrong)
    planted.__dict__.update(layer.__dict__)
    return planted


def _without_a_column(gradient: Tensor) -> Tensor:
    return torch.cat([gradient[:, :1] * 0, gradient[:, 1:]], 1)


FAULTS: dict[str, Change] = {
    "sign": lambda g: -g,
    "factor": lambda g: 1.001 * g,
    "missing": _without_a_column,
    "transposed": lambda g: g.t().contiguous(),
    "none": lambda _: None,
    "shifted": lambda g: g + 1e-3 * g.abs().max(),
}


X = torch.randn(4, 4, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def net() -> Net:
    """A net whose report is all right at X."""
    torch.manual_seed(1)
    model = Net()
    assert check.gradients(model, X).ok
    return model


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("place", range(10))
def test_wrong_input_gradient_in_each_layer(net: Net, place: int, fault: str) -> None:
    layer = net.body[place]
    kind = type(layer).__name__
    net.body[place] = wrong(layer, FAULTS[fault])
    try:
        report = check.gradients(net, X)
    finally:
        net.body[place] = layer
    assert not report
    (entry,) = report.faults
    assert (entry.path, entry.of, entry.module) == (f"body.{place}", "input 0", f"body.{place} ({kind})")
    assert entry.index is not None
    assert len(entry.index) == 2
    assert entry.stated is not None
    assert entry.measured is not None
    expected = {"sign": -1.0, "factor": 1.001, "none": 0.0}.get(fault)
    if expected is not None:
        assert entry.stated == pytest.approx(expected * entry.measured, rel=1e-5)
        assert entry.factor == pytest.approx(expected, abs=1e-5)
        assert entry.error == pytest.approx(abs(1 - expected) / max(1, abs(expected)), rel=1e-2)
    if fault == "missing":
        assert entry.index[1] == 0
        assert entry.stated == 0
    assert not any(e.whole for e in report)  # the whole says nothing new then
    assert f"body.{place} ({kind}), input 0" in str(report)


@pytest.mark.parametrize("parameter", ["weight", "bias"])
@pytest.mark.parametrize("fault", ["sign", "factor", "none", "transposed"])
@pytest.mark.parametrize("place", [0, 2, 4, 6, 8])
def test_wrong_parameter_gradient_in_each_layer(net: Net, place: int, fault: str, parameter: str) -> None:
    change = FAULTS[fault]
    if (fault, parameter) == ("transposed", "bias"):
        change = lambda g: g.flip(0)  # noqa: E731
    layer = net.body[place]
    net.body[place] = wrong(layer, change, parameter)
    try:
        report = check.gradients(net, X)
    finally:
        net.body[place] = layer
    (entry,) = report.faults
    assert (entry.path, entry.of) == (f"body.{place}", parameter)


def test_two_faults_are_both_named() -> None:
    model = Net()
    model.body[1] = wrong(model.body[1], FAULTS["sign"])
    model.body[6] = wrong(model.body[6], FAULTS["none"], "weight")
    faults = check.gradients(model, torch.randn(4, 4)).faults
    assert [(f.path, f.of) for f in faults] == [("body.1", "input 0"), ("body.6", "weight")]


@pytest.mark.parametrize(
    ("layer", "inputs"),
    [
        (nn.Softmax(1), [torch.randn(4, 3)]),
        (nn.LogSoftmax(1), [torch.randn(4, 3)]),
        (nn.BatchNorm2d(2), [torch.randn(3, 2, 2, 2)]),
        (nn.MSELoss(), [torch.randn(4), torch.randn(4)]),
        (nn.CrossEntropyLoss(), [torch.randn(4, 3), torch.tensor([0, 2, 1, 1])]),
        (nn.Conv2d(2, 3, 2), [torch.randn(2, 2, 4, 4)]),
        (nn.MaxPool2d(2), [torch.randn(2, 2, 4, 4)]),
        (nn.AdaptiveAvgPool2d(2), [torch.randn(2, 2, 3, 3)]),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_a_thousandth_is_found_in_every_kind_of_layer(layer: Any, inputs: list[Tensor]) -> None:
    def off(result: Any) -> Any:
        return (1.001 * result[0], *result[1:]) if isinstance(result, tuple) else 1.001 * result

    report = check.gradients(wrong(layer, off), *inputs)
    assert [(e.path, e.of) for e in report.faults] == [("", "input 0")]
    assert report.faults[0].factor == pytest.approx(1.001, abs=1e-5)


def test_one_wrong_element_of_many_is_found() -> None:
    class Hidden(nn.Tanh):
        def backward(self, call: Any, grad: Tensor) -> Any:
            gradient = super().backward(call, grad)
            gradient[17, 33] *= 1.1
            return gradient

    for model in (Hidden(), nn.Sequential(nn.Tanh(), Hidden())):
        (entry,) = check.gradients(model, torch.randn(40, 50), elements=5).faults
        assert (entry.of, entry.index, entry.compared, entry.differing) == ("input 0", (17, 33), 6, 1)


class SoftmaxWithoutSum(nn.Softmax):
    def backward(self, call: Any, grad: Tensor) -> Any:
        (output,) = call.saved
        return grad * output


class BatchNormWithoutMean(nn.BatchNorm2d):
    def backward(self, call: Any, grad: Tensor) -> Any:
        _, _, scale, weight = call.saved
        return grad * (scale * weight).reshape(1, -1, 1, 1)


@pytest.mark.parametrize(
    ("layer", "x"),
    [(SoftmaxWithoutSum(1), torch.randn(4, 3)), (BatchNormWithoutMean(2), torch.randn(3, 2, 2, 2))],
)
def test_terms_that_an_upstream_of_ones_or_of_nothing_would_hide(layer: nn.Module, x: Tensor) -> None:
    assert [e.of for e in check.gradients(layer, x).faults] == ["input 0"]
    deep = nn.Sequential(nn.Tanh(), layer, nn.Sigmoid())
    assert [(e.path, e.of) for e in check.gradients(deep, x).faults] == [("1", "input 0")]


class Gate(nn.Module):
    """x + tanh(Wx) * s: a residual block of layers, operators and a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.scale = nn.Parameter(torch.randn(3))

    def forward(self, x: Any) -> Any:
        return x + self.linear(x).tanh() * self.scale


class Gates(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = Gate(), Gate()
        self.last = nn.Linear(3, 2)

    def forward(self, x: Any) -> Any:
        return self.last(self.second(self.first(x)))


def test_wrong_operator_is_named_by_class_and_place(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check.gradients(Gates(), torch.randn(2, 3)).ok
    monkeypatch.setattr(arithmetic.Mul, "grad_other", staticmethod(lambda grad, input, _: -grad * input))
    faults = check.gradients(Gates(), torch.randn(2, 3)).faults
    assert [(f.path, f.module, f.of) for f in faults] == [
        (None, "Mul in first (Gate)", "input 1"),
        (None, "Mul in second (Gate)", "input 1"),
    ]


def test_operators_are_placed_in_the_composite_that_uses_them() -> None:
    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate = Gate()

        def forward(self, x: Any) -> Any:
            return self.gate(x / 2) - 1

    report = check.gradients(Outer(), torch.randn(2, 3))
    assert report.ok, str(report)
    names = dict.fromkeys(e.module for e in report if not e.whole)
    assert list(names) == [
        "Div in Outer",
        "gate.linear (Linear)",
        "Tanh in gate (Gate)",
        "Mul in gate (Gate)",
        "Add in gate (Gate)",
        "Sub in Outer",
    ]


@pytest.mark.parametrize("block", ["first", "second"])
def test_wrong_layer_beside_operators(block: str) -> None:
    model = Gates()
    gate = getattr(model, block)
    gate.linear = wrong(gate.linear, FAULTS["sign"])
    faults = check.gradients(model, torch.randn(2, 3)).faults
    assert [(f.path, f.of) for f in faults] == [(f"{block}.linear", "input 0")]


class WrongBelowZero(nn.Primitive):
    """y = x^2, with a derivative that is right for positive x only."""

    def forward(self, call: Any, x: Tensor) -> Tensor:
        call.save(x)
        return x * x

    def backward(self, call: Any, grad: Tensor) -> Any:
        return 2 * call.saved[0].abs() * grad


def test_each_call_of_a_shared_module_is_checked() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.square = WrongBelowZero()

        def forward(self, x: Any) -> Any:
            return self.square(self.square(x + 2) - 20)  # first of positive, then of negative numbers

    (fault,) = check.gradients(Twice(), torch.rand(4)).faults
    assert (fault.path, fault.module) == ("square", "square (WrongBelowZero), call 2 of 2")


class Broken(nn.Primitive):
    """A square whose derivative goes wrong in one of several ways that are not numbers."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def forward(self, call: Any, x: Tensor) -> Tensor:
        if self.how == "changes its input":
            x.mul_(2)
        if self.how == "is not repeatable":
            x = x + float(torch.rand((), generator=GENERATOR))
        call.save(x)
        return x * x * (torch.nan if self.how == "gives NaN" else 1)

    def backward(self, call: Any, grad: Tensor) -> Any:
        if self.how == "raises":
            raise ZeroDivisionError("by nothing")
        if self.how == "changes its gradient":
            return grad.mul_(2 * call.saved[0])
        gradient = 2 * call.saved[0] * grad
        if self.how == "gives another shape":
            return gradient[:1]
        if self.how == "gives another dtype":
            return gradient.float()
        if self.how == "gives too many":
            return gradient, gradient
        return gradient


GENERATOR = torch.Generator().manual_seed(0)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("raises", "backward raises ZeroDivisionError: by nothing"),
        ("gives another shape", r"has shape \(1, 3\)"),
        ("gives another dtype", "float32"),
        ("gives too many", "2 gradients for 1 inputs"),
        ("changes its gradient", "changes the gradient that it is given"),
        ("changes its input", "changes an input in place"),
        ("is not repeatable", "gives different outputs"),
        ("gives NaN", "output is NaN"),
    ],
)
def test_failures_belong_to_the_module_that_fails(how: str, message: str) -> None:
    assert check.gradients(Broken("not at all"), torch.randn(2, 3)).ok
    for model, path in [(Broken(how), ""), (nn.Sequential(nn.Linear(3, 3), Broken(how)), "1")]:
        report = check.gradients(model, torch.randn(2, 3))
        (fault,) = report.faults
        assert fault.path == path
        assert fault.problem
        with pytest.raises(AssertionError, match=message):
            raise AssertionError(str(report))


class Partial(nn.Primitive):
    """x w and x + w, right as long as everything is asked for."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3))
        self.fault = fault

    def forward(self, call: Any, x: Tensor) -> Any:
        call.save(None if self.fault == "saved for parameter only" and not call.wants("weight") else x, self.weight)
        return x * self.weight, x + self.weight

    def backward(self, call: Any, product: Tensor | None, total: Tensor | None) -> Any:
        x, weight = call.saved
        if self.fault == "saved for parameter only":
            weight = weight + 0 * x
        if self.fault == "raises for None":
            return product * weight + total
        if self.fault == "forgets for None" and product is None:
            return None
        if self.fault == "of parameter needs backward":
            call.ready = True
        gradient = 0 if product is None else product * weight
        return gradient if total is None else gradient + total

    def parameter_gradients(self, call: Any, product: Tensor | None, total: Tensor | None) -> Any:
        x, _ = call.saved
        if self.fault == "of parameter needs backward":
            assert call.ready, "backward has to come first"
        gradient = torch.zeros_like(x) if product is None else product * x
        return {"weight": (gradient if total is None else gradient + total).sum(0)}


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("raises for None", "where a gradient comes to output 0 only, None to others, backward raises TypeError"),
        ("forgets for None", "summed over its outputs one by one, the gradient of input 0 is"),
        ("saved for parameter only", "where only input 0 wants a gradient, backward raises TypeError"),
        ("of parameter needs backward", "where only weight wants a gradient, backward raises AttributeError"),
    ],
)
def test_right_only_as_long_as_everything_is_asked_for(fault: str, message: str) -> None:
    assert check.gradients(Partial("none"), torch.randn(2, 3)).ok
    (entry,) = check.gradients(Partial(fault), torch.randn(2, 3)).faults
    assert message in entry.problem


def test_stated_derivative_that_is_not_a_number() -> None:
    class NotANumber(nn.Primitive):
        def forward(self, call: Any, x: Tensor) -> Tensor:
            call.save(x)
            return torch.where(x < 0, 0.0, x.sqrt())

        def backward(self, call: Any, grad: Tensor) -> Any:
            (x,) = call.saved
            return torch.where(x < 0, 0.0, 0.5 * grad) * x.rsqrt()  # 0 * nan, where x < 0

    (entry,) = check.gradients(NotANumber(), torch.tensor([1.0, -1.0, 4.0])).faults
    assert entry.index == (1,)
    assert str(entry.stated) == "nan"
    assert entry.measured == 0

"""What is right is found right: every layer, and composites of all kinds. The caller's things stay as they are."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from modgrad import check, nn
from tests.cases import CASES, FIRST, Case, row


def _classes() -> Tensor:
    return torch.tensor([0, 2, 1, 1])


def _cnn() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(3, 4, 2),
        nn.Tanh(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 3),
        nn.LogSoftmax(1),
    )


LAYERS: dict[str, tuple[Any, ...]] = {  # name: (layer, inputs..., how many derivatives it has)
    "Linear": (lambda: nn.Linear(3, 2), lambda: [torch.randn(4, 3)], 3),
    "Linear without bias": (lambda: nn.Linear(3, 2, bias=False), lambda: [torch.randn(3)], 2),
    "ReLU": (nn.ReLU, lambda: [torch.randn(4, 3)], 1),
    "Tanh": (nn.Tanh, lambda: [torch.randn(4, 3)], 1),
    "Sigmoid": (nn.Sigmoid, lambda: [torch.randn(4, 3)], 1),
    "Softmax": (lambda: nn.Softmax(1), lambda: [torch.randn(4, 3)], 1),
    "Softmax of one class": (lambda: nn.Softmax(1), lambda: [torch.randn(4, 1)], 1),
    "LogSoftmax": (lambda: nn.LogSoftmax(0), lambda: [torch.randn(4, 3)], 1),
    "LogSoftmax, a class ruled out": (lambda: nn.LogSoftmax(0), lambda: [torch.tensor([0.5, 1.0, -torch.inf])], 1),
    "MSELoss": (nn.MSELoss, lambda: [torch.randn(4, 3), torch.randn(4, 3)], 2),
    "CrossEntropyLoss of classes": (nn.CrossEntropyLoss, lambda: [torch.randn(4, 3), _classes()], 1),
    "CrossEntropyLoss of probabilities": (
        lambda: nn.CrossEntropyLoss(label_smoothing=0.1),
        lambda: [torch.randn(4, 3), torch.randn(4, 3).softmax(1)],
        2,
    ),
    "CrossEntropyLoss of each": (
        lambda: nn.CrossEntropyLoss(reduction="none"),
        lambda: [torch.randn(3), _classes()[0]],
        1,
    ),
    "Conv2d": (lambda: nn.Conv2d(2, 4, (3, 2), 2, 1, groups=2), lambda: [torch.randn(2, 2, 5, 5)], 3),
    "BatchNorm2d": (lambda: nn.BatchNorm2d(2), lambda: [torch.randn(3, 2, 2, 2)], 3),
    "BatchNorm2d in evaluation": (lambda: nn.BatchNorm2d(2).eval(), lambda: [torch.randn(3, 2, 2, 2)], 3),
    "MaxPool2d": (lambda: nn.MaxPool2d(3, 2, 1), lambda: [torch.randn(2, 2, 5, 5)], 1),
    "MaxPool2d with indices": (lambda: nn.MaxPool2d(2, return_indices=True), lambda: [torch.randn(2, 2, 4, 4)], 1),
    "AdaptiveAvgPool2d": (lambda: nn.AdaptiveAvgPool2d((2, 3)), lambda: [torch.randn(2, 2, 5, 5)], 1),
    "Identity": (nn.Identity, lambda: [torch.randn(3)], 1),
    "Flatten": (nn.Flatten, lambda: [torch.randn(2, 3, 2)], 2),
    "float64": (nn.Tanh, lambda: [torch.randn(3, dtype=torch.float64)], 1),
    "a number": (nn.Tanh, lambda: [torch.tensor(0.3)], 1),
    "no elements": (nn.Tanh, lambda: [torch.randn(0, 3)], 1),
    "large values": (lambda: nn.LogSoftmax(1), lambda: [100 * torch.randn(4, 3)], 1),
    "small values": (lambda: nn.BatchNorm2d(2), lambda: [1e-3 * torch.randn(3, 2, 2, 2)], 3),
    "not contiguous": (nn.Tanh, lambda: [torch.randn(3, 4).t()], 1),
    "expanded": (nn.Tanh, lambda: [torch.randn(3, 1).expand(3, 4)], 1),
}


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_is_right(name: str) -> None:
    layer, inputs, count = LAYERS[name]
    report = check.gradients(layer(), *inputs())
    assert report.ok, str(report)
    assert len(report.entries) == count
    assert sum(entry.compared for entry in report) > 0 or name == "no elements"
    assert all(entry.compared + entry.unmeasured == min(entry.total, 200) for entry in report)


@pytest.mark.parametrize("case", [row(case, case not in FIRST) for case in CASES])
def test_every_row_of_the_contract_is_right(case: Case) -> None:
    for inputs in case.inputs:
        report = check.gradients(case.make().train(case.training), *inputs())
        # CTCLoss's gradient, as PyTorch's, is the derivative only together with the log softmax before it.
        assert report.ok == (case.is_derivative and "CTCLoss" not in case.primitives), str(report)
        assert sum(entry.compared for entry in report) > 0


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("training", [True, False])
def test_cnn_is_right(seed: int, training: bool) -> None:
    report = check.gradients(_cnn().train(training), torch.randn(2, 1, 5, 5), seed=seed)
    assert report.ok, str(report)
    assert {entry.path for entry in report} >= {"0", "1", "2", "3", "4", "5", "6", None, "8", "9", ""}
    assert [e.module for e in report if e.path is None] == ["Reshape in 7 (Flatten)"]
    ends = [entry.of for entry in report if entry.whole]
    assert ends == ["input 0", *(f"{i}.{name}" for i in (0, 1, 4, 8) for name in ("weight", "bias"))]


def test_deep_sigmoids_where_gradients_vanish_are_right() -> None:
    layers = [layer for _ in range(10) for layer in (nn.Linear(4, 4), nn.Sigmoid())]
    report = check.gradients(nn.Sequential(*layers), torch.randn(3, 4))
    assert report.ok, str(report)


class Block(nn.Module):
    """Takes a dict and a list, gives a dict: of several outputs, one outside of the graph, one not a tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.scale = nn.Parameter(torch.randn(3))
        self.shift = nn.Buffer(torch.randn(3))

    def forward(self, x: dict[str, Any], others: list[Any]) -> dict[str, Any]:
        hidden = self.linear(x["first"]).tanh() * self.scale + self.shift
        left, right = (hidden + others[0]).split([1, 2], 1)
        return {"sum": hidden.sum(1) / 2, "both": [left, right * others[1], "text"], "plain": hidden.detach()}


def test_nested_inputs_and_several_outputs() -> None:
    report = check.gradients(Block(), {"first": torch.randn(2, 3)}, [torch.randn(3), 2.5])
    assert report.ok, str(report)
    assert [e.of for e in report if e.whole] == [
        "input 0['first']",
        "input 1[0]",
        "scale",
        "linear.weight",
        "linear.bias",
    ]
    assert "Output 4 is a plain tensor outside of the graph: not compared." in report.notes
    assert "Split in Block" in {e.module for e in report}


class Halves(nn.Module):
    def forward(self, x: Any) -> Any:
        return x.split([1, 2], 1)[0]


def test_an_output_that_is_not_used_on() -> None:
    assert check.gradients(Halves(), torch.randn(2, 3)).ok


class Dropout(nn.Primitive):
    def forward(self, call: Any, x: Tensor) -> Tensor:
        mask = (torch.rand_like(x) < 0.5).to(x) * 2
        call.save(mask)
        return x * mask

    def backward(self, call: Any, grad: Tensor) -> Any:
        return grad * call.saved[0]


def test_random_modules_draw_the_same_each_time_and_nobody_else_notices() -> None:
    model = nn.Sequential(nn.Linear(3, 4), Dropout(), nn.Tanh(), Dropout())
    before = torch.get_rng_state()
    report = check.gradients(model, torch.randn(2, 3, generator=torch.Generator().manual_seed(0)))
    assert report.ok, str(report)
    assert torch.equal(torch.get_rng_state(), before)


class Counting(nn.Primitive):
    """y = n^3 x at its n-th call: keeps state in a buffer replaced at each call, one changed in place, an attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.count: Any = nn.Buffer(torch.tensor(0.0))
        self.total: Any = nn.Buffer(torch.tensor(0))
        self.calls = 0

    def forward(self, call: Any, x: Tensor) -> Any:
        self.count = self.count + 1
        self.total.add_(1)
        self.calls += 1
        call.factor = float(self.count) * int(self.total) * self.calls
        return x * call.factor

    def backward(self, call: Any, grad: Tensor) -> Any:
        return grad * call.factor


def test_state_is_restored_before_each_evaluation() -> None:
    counting = Counting()
    assert check.gradients(counting, torch.randn(3)).ok
    assert check.gradients(nn.Sequential(nn.Tanh(), counting, nn.Tanh()), torch.randn(3)).ok
    assert (float(counting.count), int(counting.total), counting.calls) == (0.0, 0, 0)


def test_primitives_inside_of_a_model_are_compared_in_the_state_it_was_given_in() -> None:
    class RightAtFirst(Counting):
        def backward(self, call: Any, grad: Tensor) -> Any:
            return grad if call.factor == 1 else None

    assert check.gradients(nn.Sequential(nn.Tanh(), RightAtFirst(), nn.Tanh()), torch.randn(3)).ok


def test_tied_and_shared_modules() -> None:
    shared = nn.Linear(3, 3)
    other = nn.Linear(3, 3)
    other.weight = shared.weight
    report = check.gradients(nn.Sequential(shared, nn.Tanh(), shared, other), torch.randn(2, 3))
    assert report.ok, str(report)
    assert {e.module for e in report} >= {"0 (Linear), call 1 of 2", "0 (Linear), call 2 of 2", "3 (Linear)"}


def test_a_parameter_that_nothing_depends_on_and_an_input_that_is_not_used() -> None:
    class Ignoring(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unused = nn.Parameter(torch.randn(2))

        def forward(self, x: Any, unused: Any) -> Any:
            return x * 2

    report = check.gradients(Ignoring(), torch.randn(2), torch.randn(2))
    assert report.ok, str(report)
    assert {"unused", "input 1"} <= {e.of for e in report}


def test_frozen_parameters_are_compared_wherever_they_are_used() -> None:
    inputs = {"first": torch.randn(2, 3)}, [torch.randn(3), 2.5]
    entries = [(e.module, e.of) for e in check.gradients(Block(), *inputs)]
    assert [(e.module, e.of) for e in check.gradients(Block().freeze(), *inputs)] == entries
    assert ("Mul in Block, call 1 of 2", "input 1") in entries  # tanh(...) * self.scale


def test_constants_that_are_not_registered_are_converted_too() -> None:
    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.matrix = torch.randn(3, 2)

        def forward(self, x: Any) -> Any:
            return x @ self.matrix

    model = Constant()
    assert check.gradients(model, torch.randn(2, 3)).ok
    assert model.matrix.dtype is torch.float32


def test_a_composite_that_converts_to_float32_on_the_way() -> None:
    class Converting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x: Any) -> Any:
            return self.second(self.first(x).tanh().float().double()) + x

    report = check.gradients(Converting(), torch.randn(2, 3))
    assert report.ok, str(report)


def test_caller_is_untouched() -> None:
    model = _cnn()
    model.freeze()
    model[0].unfreeze()
    model[5].eval()
    for parameter in model[0].parameters():
        parameter.grad_v = torch.ones_like(parameter.detach())
    leaf = nn.Variable(torch.randn(2, 1, 5, 5))
    before = copy.deepcopy(model.state_dict())
    value = leaf.detach().clone()
    attributes = [dict(m.__dict__) for m in model.modules()]

    report = check.gradients(model, leaf)

    assert report.ok, str(report)
    assert {e.of for e in report if e.path == "8"} == {"input 0", "weight", "bias"}  # frozen, and checked
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
        assert tensor.dtype == before[name].dtype
    assert [p.grad_f for p in model.parameters()] == [True, True] + [False] * 6
    assert all(p.grad_v is None or bool((p.grad_v == 1).all()) for p in model.parameters())
    assert [m.training for m in model.modules()] == [True] * 6 + [False] + [True] * 4
    for module, own in zip(model.modules(), attributes, strict=True):
        assert module.__dict__.keys() == own.keys()
        assert all(module.__dict__[name] is value for name, value in own.items())
    assert leaf.grad_v is None
    assert torch.equal(leaf.detach(), value)


def test_inputs_that_are_not_tensors_are_copied_too() -> None:
    class Log:
        calls = 0

    class Logging(nn.Module):
        def forward(self, x: Any, log: Log) -> Any:
            log.calls += 1
            return x * 2

    log = Log()
    assert check.gradients(Logging(), torch.randn(3), log).ok
    assert log.calls == 0


def test_some_elements_are_chosen_by_seed() -> None:
    x = torch.randn(40, 50)
    report = check.gradients(nn.Tanh(), x, elements=30, seed=3)
    again = check.gradients(nn.Tanh(), x, elements=30, seed=3)
    other = check.gradients(nn.Tanh(), x, elements=30, seed=4)
    assert (report.entries[0].compared, report.entries[0].total) == (30, 2000)
    assert report.entries == again.entries
    assert report.entries != other.entries
    assert "30 of 2,000 elements" in str(report)
    assert "with seed 3" in str(report)
    assert "seed" not in str(check.gradients(nn.Tanh(), torch.randn(3)))


def test_inputs_that_are_not_to_be_differentiated() -> None:
    class Masked(nn.Primitive):
        def forward(self, call: Any, x: Tensor, mask: Tensor) -> Tensor:
            call.save(mask)
            return x * mask

        def backward(self, call: Any, grad: Tensor) -> tuple[Tensor, None]:
            return grad * call.saved[0], None

    x, mask = torch.randn(3), torch.tensor([0.0, 1.0, 1.0])
    assert not check.gradients(Masked(), x, mask).ok
    report = check.gradients(Masked(), x, mask, wanted=[0])
    assert report.ok
    assert [e.of for e in report] == ["input 0"]


def test_what_cannot_be_checked() -> None:
    with pytest.raises(TypeError, match=r"expected an nn\.Module, got Tensor"):
        check.gradients(torch.randn(3))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no parameter and no floating-point input"):
        check.gradients(nn.ReLU(), torch.tensor([1, 2]))
    with pytest.raises(ValueError, match="there are 1 inputs"):
        check.gradients(nn.ReLU(), torch.randn(2), wanted=[1])
    with pytest.raises(ValueError, match="elements=0"):
        check.gradients(nn.ReLU(), torch.randn(2), elements=0)
    with pytest.raises(ValueError, match="in_features=3"):  # forward's own error
        check.gradients(nn.Linear(3, 2), torch.randn(4, 4))

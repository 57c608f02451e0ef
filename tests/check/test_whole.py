"""A composite that is wrong although all its primitives are right: a value left the graph on the way."""

from typing import Any

import torch
from torch import Tensor

from modgrad import check, nn


class Detaching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear, self.act = nn.Linear(3, 3), nn.Tanh()

    def forward(self, x: Any) -> Any:
        return x + self.act(self.linear(x)).detach()


class Right(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def forward(self, x: Any) -> Any:
        return x + self.linear(x).tanh()


def test_detached_value_is_found_in_the_innermost_composite() -> None:
    for layers in ([Detaching(), Right()], [Right(), nn.Sequential(nn.Tanh(), Detaching())]):
        report = check.gradients(nn.Sequential(*layers, nn.Linear(3, 2)), torch.randn(2, 3))
        path = "0" if isinstance(layers[0], Detaching) else "1.1"
        assert {(e.path, e.module) for e in report.faults} == {(path, f"{path} (Detaching)")}
        assert [e.of for e in report.faults] == ["input 0", "linear.weight", "linear.bias"]
        assert all(e.whole for e in report.faults)
        assert [e.stated for e in report.faults[1:]] == [0, 0]
        assert "a value leaves the graph" in str(report)
        note = f"Add in {path} (Detaching) is given, as input 1, the plain value of the output of {path}.act (Tanh)."
        assert note in report.notes


def test_a_detached_part_of_many_elements_is_found() -> None:
    class Part(nn.Module):
        def forward(self, x: Any) -> Any:
            return torch.cat([x[:37], x[37:38].detach(), x[38:]]).tanh()

    (fault,) = check.gradients(Part(), torch.randn(50, 40), elements=5).faults
    assert (fault.path, fault.of, fault.stated) == ("", "input 0", 0)
    assert fault.index is not None
    assert fault.index[0] == 37


def test_wrong_layer_whose_output_is_detached_is_still_named() -> None:
    model = Detaching()

    class Wrong(nn.Tanh):
        def backward(self, call: Any, grad: Tensor) -> Tensor:
            return -super().backward(call, grad)

    model.act = Wrong()
    (fault,) = check.gradients(model, torch.randn(2, 3)).faults
    assert (fault.path, fault.of) == ("act", "input 0")


def test_wrong_first_layer_whose_output_is_detached_is_still_named() -> None:
    class Embedding(nn.Primitive):
        """Rows of a table, with a derivative that forgets how often a row was taken."""

        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Parameter(torch.randn(4, 3))

        def forward(self, call: Any, rows: Tensor) -> Tensor:
            call.save(rows)
            return self.table[rows]

        def backward(self, _: Any, __: Tensor) -> None:
            return None

        def parameter_gradients(self, call: Any, grad: Tensor) -> dict[str, Tensor | None]:
            gradient = torch.zeros(4, 3, dtype=grad.dtype)
            gradient[call.saved[0]] = grad
            return {"table": gradient}

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.linear = Embedding(), nn.Linear(3, 2)

        def forward(self, rows: Any) -> Any:
            return self.linear(self.embedding(rows).detach())

    assert check.gradients(Embedding(), torch.tensor([0, 2, 3])).ok
    (fault,) = check.gradients(Model(), torch.tensor([0, 2, 2])).faults
    assert (fault.path, fault.of) == ("embedding", "table")


def test_parameter_used_as_data() -> None:
    class Data(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.randn(3))

        def forward(self, x: Any) -> Any:
            return x * self.scale.data

    class Around(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Data()

        def forward(self, x: Any) -> Any:
            return self.inner(x).tanh()

    report = check.gradients(Around(), torch.randn(2, 3))
    (fault,) = report.faults
    assert (fault.path, fault.of, fault.stated) == ("inner", "scale", 0)
    assert "Mul in inner (Data) is given, as input 1, the plain value of the parameter inner.scale." in report.notes


def test_value_made_anew_from_its_numbers() -> None:
    class Anew(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3, 3)

        def forward(self, x: Any) -> Any:
            return x * torch.tensor(self.linear(x).tolist(), dtype=torch.float64)

    report = check.gradients(Anew(), torch.randn(2, 3))
    assert [(e.path, e.of) for e in report.faults] == [("", "input 0"), ("", "linear.weight"), ("", "linear.bias")]
    assert "The output of linear (Linear) leads to no output by the graph." in report.notes


def test_primitive_that_keeps_on_itself_what_belongs_to_its_call() -> None:
    class Forgetful(nn.Primitive):
        def forward(self, _: Any, x: Tensor) -> Tensor:
            self.x = x
            return x * x

        def backward(self, _: Any, grad: Tensor) -> Tensor:
            return 2 * self.x * grad

    square = Forgetful()
    assert check.gradients(nn.Sequential(nn.Tanh(), square), torch.randn(3)).ok  # right, as long as it is called once
    report = check.gradients(nn.Sequential(square, nn.Tanh(), square), torch.randn(3))
    assert {(e.path, e.whole) for e in report.faults} == {("", True)}
    assert "keeps on itself what belongs to its call" in str(report)


def test_no_output_in_the_graph() -> None:
    class Out(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3, 3)

        def forward(self, x: Any) -> Any:
            return self.linear(x).detach()

    (fault,) = check.gradients(Out(), torch.randn(2, 3)).faults
    assert fault.path == ""
    assert "no output is in the graph" in fault.problem


def test_in_place_change_between_forward_and_backward_is_reported() -> None:
    class Shared(nn.Module):
        """Changes, after it was saved, memory that a layer's derivative needs."""

        def forward(self, x: Any) -> Any:
            factor = torch.ones(3, dtype=torch.float64)
            product = x * factor
            factor.add_(1)
            return product

    report = check.gradients(nn.Sequential(Shared(), nn.Tanh()), torch.randn(2, 3))
    assert {e.path for e in report.faults} == {"0"}
    assert "changed in place" in str(report)


def test_detached_value_is_found_on_a_kink() -> None:
    class Half(nn.Module):
        """relu(x) + relu(x), the second one detached; at x = 0, where 0 is a derivative of each."""

        def __init__(self) -> None:
            super().__init__()
            self.act = nn.ReLU()

        def forward(self, x: Any) -> Any:
            y = self.act(x)
            return y + y.detach()

    report = check.gradients(Half(), torch.zeros(2, 3))
    assert {(e.path, e.of) for e in report.faults} == {("", "input 0")}

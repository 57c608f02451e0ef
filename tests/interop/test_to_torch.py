"""Modules there and back: PyTorch's as modgrad's, and these as PyTorch's again."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch

from modgrad import interop, nn
from tests.cases import CASES, FIRST, Case
from tests.cases import row as parameter
from tests.interop.compared import TIGHT, assert_same_model, outputs
from tests.test_module_database import ENTRIES, assert_alike, cases, floats, ours

N = torch.nn


@pytest.mark.filterwarnings("ignore")  # of PyTorch's modules, about themselves
@pytest.mark.parametrize("most", [6, pytest.param(100, marks=pytest.mark.thorough)], ids=["some", "all"])
@pytest.mark.parametrize("name", sorted(ENTRIES))
def test_every_layer_there_and_back(name: str, most: int) -> None:
    """Constructors of PyTorch's module database, up to so many of each class: arguments, names, values; and
    `to_torch` gives the first again."""
    rows = {f"{r.constructor_input.args} {r.constructor_input.kwargs} {t}": (r, t) for r, t in cases(name)}
    for key, (row, training) in list(rows.items())[:: 1 + len(rows) // most]:
        given = row.constructor_input
        twin = ENTRIES[name].module_cls(*given.args, **given.kwargs).double().train(training)
        mine = interop.from_torch(twin)
        back = interop.to_torch(mine)
        known = repr(twin).replace("NonDynamicallyQuantizableLinear", "Linear")
        assert repr(back).replace("NonDynamicallyQuantizableLinear", "Linear") == known
        if not name.endswith("Loss"):  # PyTorch's losses do not show their arguments
            assert repr(mine) == known
        for module in (mine, back):
            assert list(module.state_dict()) == list(twin.state_dict())
            assert all(m.training is training for m in module.modules())
            torch.manual_seed(2)
            expected = floats(twin(*row.forward_input.args, **row.forward_input.kwargs))
            args, kwargs = row.forward_input.args, row.forward_input.kwargs
            if module is mine:
                args, kwargs = (ours(x, {}) for x in (args, kwargs))
            torch.manual_seed(2)
            found = floats(module(*args, **kwargs))
            for i, (y, z) in enumerate(zip(expected, found, strict=True)):
                assert_alike(z, y, f"{key}: output {i}")


# Classes that neither the database nor the table has
OTHERS: dict[str, tuple[Callable[[], Any], tuple[Any, ...]]] = {
    "Flatten": (lambda: N.Flatten(0, -2), (torch.randn(2, 3, 4),)),
    "Hardsigmoid": (lambda: N.Hardsigmoid(), (torch.tensor([-4.0, 4.0]),)),
    "Identity": (lambda: N.Identity(3, of="nothing"), (torch.randn(3),)),
    "MaxUnpool1d": (lambda: N.MaxUnpool1d(2, 2), (torch.randn(1, 1, 2), torch.tensor([[[1, 2]]]))),
    "MaxUnpool2d": (lambda: N.MaxUnpool2d(2, stride=1), (torch.randn(1, 1, 2), torch.tensor([[[1, 2]]]))),
    "MaxUnpool3d": (lambda: N.MaxUnpool3d((1, 1, 2)), (torch.randn(1, 1, 1, 1), torch.tensor([[[[1]]]]))),
    "NLLLoss2d": (lambda: N.NLLLoss2d(torch.ones(3)), (torch.randn(2, 3, 1, 1), torch.tensor([[[1]], [[0]]]))),
    "TransformerDecoder": (
        lambda: N.TransformerDecoder(N.TransformerDecoderLayer(4, 2, 5, norm_first=True), 2, N.LayerNorm(4)),
        (torch.randn(2, 3, 4), torch.randn(5, 3, 4)),
    ),
    "Unflatten": (lambda: N.Unflatten(1, (2, -1)), (torch.randn(2, 4),)),
}
CONTAINERS = {"Module", "ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "Sequential"}
BASES = {"Container", "RNNBase", "RNNCellBase"}  # which nobody makes, and CrossMapLRN2d is refused


def pytorchs(case: Case) -> bool:
    return type(case.make_twin()).__module__.startswith("torch.nn.")


ROWS = [parameter(case, case not in FIRST) for case in CASES if pytorchs(case)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", ROWS)
def test_every_row_there_and_back(case: Case) -> None:
    """Of layers: values, gradients and buffers of both; and the same arguments again."""
    assert_there_and_back(case.make_twin().train(case.training), case.inputs[0]())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", OTHERS)
def test_other_layers_there_and_back(name: str) -> None:
    make, inputs = OTHERS[name]
    assert_there_and_back(make(), tuple(x.double() if x.is_floating_point() else x for x in inputs))


def assert_there_and_back(twin: Any, inputs: tuple[Any, ...]) -> None:
    torch.use_deterministic_algorithms(False)  # with which PyTorch's unpooling does not run
    twin = twin.double()
    mine = interop.from_torch(twin)
    back = interop.to_torch(mine)
    assert repr(back) == repr(twin).replace("NonDynamicallyQuantizableLinear", "Linear")
    assert [m.training for m in back.modules()] == [m.training for m in twin.modules()]
    for module in (mine, back):
        assert list(module.state_dict()) == list(twin.state_dict())
    if any(x.is_floating_point() for x in inputs):
        torch.manual_seed(1)
        expected = outputs(copy.deepcopy(twin)(*inputs))
        torch.manual_seed(1)
        for y, z in zip(expected, outputs(back(*inputs)), strict=True):
            torch.testing.assert_close(z, y, **TIGHT)
        assert_same_model(twin, mine, *inputs)


def test_no_class_is_left_out() -> None:
    known = {name for name, cls in vars(N).items() if isinstance(cls, type) and issubclass(cls, N.Module)}
    tried = {type(row.values[0].make_twin()).__name__ for row in ROWS} | set(ENTRIES) | set(OTHERS)
    assert {name for name in known if hasattr(nn, name)} - tried == CONTAINERS | BASES | {"CrossMapLRN2d"}


def test_to_torch_there_and_back() -> None:
    class Net(nn.Module):
        def forward(self, x: Any) -> Any:
            return x

    class Square(nn.Primitive):
        pass

    shared = nn.Linear(3, 3)
    mine = nn.Sequential(shared, nn.ModuleDict({"a": shared, "b": nn.LSTM(3, 2)}), nn.ParameterList([torch.ones(2)]))
    shared.bias.grad_f = False
    twin = interop.to_torch(mine.eval())
    assert twin[0] is twin[1]["a"]
    assert not twin[0].bias.requires_grad
    assert twin[0].weight.requires_grad
    assert not any(m.training for m in twin.modules())
    assert len(twin[2]) == 1
    x = torch.randn(4, 2, 3)
    torch.testing.assert_close(twin[1]["b"](x)[0], mine[1]["b"](x)[0].detach())
    hooked = nn.ReLU()
    hooked.register_forward_hook(lambda m, x, y: None)
    with pytest.raises(TypeError) as error:
        interop.to_torch(nn.Sequential(Net(), Square(), nn.ReLU(), hooked))
    for part in [
        "to_torch cannot convert 3 of 5 modules:",
        "0 (Net): it has a forward of its own, made of modgrad's modules",
        "1 (Square): it has a forward of its own",
        "3 (ReLU): it has hooks: remove them",
    ]:
        assert part in str(error.value)

"""Modules there and back: PyTorch's as modgrad's, and these as PyTorch's again."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from modgrad import interop, nn
from tests.test_module_database import ENTRIES, assert_alike, cases, floats, ours


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

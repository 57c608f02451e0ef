"""A whole training step, forward, walk and update, traced to one plain program with a free batch size."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from modgrad import nn, optim
from modgrad.graph.tracing import Tracing, substituted


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, x: Any) -> Any:
        return x + self.inner(x).relu() * self.scale


class Step(torch.nn.Module):
    """What an exporter asks for: a module of PyTorch's whose forward is the step."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, state: dict[str, Tensor], x: Tensor, y: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        with Tracing(), substituted(self.model, state) as parameters:
            loss = nn.CrossEntropyLoss()(self.model(x), y)
            loss.backward()
            return {name: optim.sgd(p, p.grad_v, None, lr=0.1)[0] for name, p in parameters.items()}, loss


def test_a_step_exports_with_a_free_batch_size() -> None:
    model = nn.Sequential(nn.Linear(2, 4), Residual(), nn.Linear(4, 3))
    state = {name: value.clone() for name, value in model.state_dict().items()}
    batch = torch.export.Dim("batch")
    program = torch.export.export(
        Step(model),
        (state, torch.randn(5, 2), torch.randint(0, 3, (5,))),
        dynamic_shapes=(dict.fromkeys(state), {0: batch}, {0: batch}),
        strict=False,
    )
    assert all(node.op != "get_attr" for node in program.graph.nodes), "nothing was taken for a constant"
    step = program.module()
    optimizer, criterion = optim.SGD(model.parameters(), lr=0.1), nn.CrossEntropyLoss()
    for size in (5, 9, 2):
        x, y = torch.randn(size, 2), torch.randint(0, 3, (size,))
        state, exported = step(state, x, y)
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        torch.testing.assert_close(exported, loss.detach())
    for name, value in model.state_dict().items():
        torch.testing.assert_close(state[name], value)


def test_after_tracing_the_model_is_what_it_was() -> None:
    model = nn.Linear(2, 3)
    before = model.weight
    try:
        with Tracing(), substituted(model, {"weight": torch.zeros(3, 2)}):
            assert model.weight is not before
            raise KeyError
    except KeyError:
        pass
    assert model.weight is before
    assert type(model(torch.ones(1, 2))) is nn.Variable

"""What a converted forward does in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from modgrad import interop, nn
from tests.interop.compared import N, assert_same_model, row


class InPlace(N.Module):
    """What it is to do is a function of itself and its input."""

    def __init__(self, use: Callable[[Any, Any], Any]) -> None:
        super().__init__()
        self.first, self.relu = N.Linear(4, 4), N.ReLU(inplace=True)
        self.drop = N.Dropout(0.0, inplace=True)
        self.use = use

    def forward(self, x: Tensor) -> Tensor:
        return self.use(self, self.first(x))


def add_to(x: Any, y: Any) -> Any:
    x += y
    return x


def twice(x: Any) -> Any:
    x *= 2
    x -= 1
    x /= 3
    return x


@pytest.mark.parametrize(
    "use",
    [
        lambda m, x: add_to(x, x.exp()),
        lambda m, x: add_to(x, x),
        lambda m, x: twice(x),
        lambda m, x: m.relu(x) + 1,
        lambda m, x: m.drop(m.relu(x)),
        lambda m, x: F.relu(x, inplace=True),
        lambda m, x: F.relu(x + 1, True) + F.leaky_relu(x, 0.1, True),
        lambda m, x: F.dropout(x, 0.0, inplace=True),
        lambda m, x: x.add_(1).mul_(2.0).relu_(),
        lambda m, x: torch.relu_(x),
        lambda m, x: F.elu_(x, 0.5),
        lambda m, x: x.clamp_(-0.5, 0.5).masked_fill_(torch.eye(4) > 0, 3.0),
        lambda m, x: add_to(m.first(x.view(1, 4, 4)), x),  # whose memory a kernel made under another shape
    ],
)
def test_in_place(use: Any) -> None:
    """What is done in place, to what is not used again, is done out of place."""
    twin = InPlace(use).double()
    assert_same_model(twin, interop.from_torch(twin), row(4, 4))


def use_old(m: Any, x: Any, then: Any) -> Any:
    kept = x
    x = m.relu(x)
    return then(kept, x)


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda m, x: use_old(m, x, lambda old, new: old + new), "after ReLU was done to it in place"),
        (lambda m, x: use_old(m, x, lambda old, new: torch.cat([new, old])), "after ReLU was done to it in place"),
        (lambda m, x: use_old(m, x, lambda old, new: m.first(old)), "after ReLU was done to it in place"),
        (lambda m, x: use_old(m, x, lambda old, new: new * old.item()), "after ReLU was done to it in place"),
        (lambda m, x: use_old(m, x, lambda old, new: new + old.detach()), "after ReLU was done to it in place"),
        (lambda m, x: use_old(m, x, lambda old, new: new if old.sum() > 0 else old), "after ReLU was done"),
        (lambda m, x: (add_to(x, 1), x.sum())[1], r"of shape \(4, 4\) is used after add_ was done"),
        (lambda m, x: (x.add_(1), x.sum())[1], "after add_ was done"),
        (lambda m, x: (F.relu(x, inplace=True), x)[1].sum(), "after relu was done"),
        (lambda m, x: add_to(x[0], 1), "shares memory with others"),
        (lambda m, x: add_to(x.view(2, 8), 1), "shares memory with others"),
        (lambda m, x: (x.t(), add_to(x, 1))[0], "shares memory with others"),
        (lambda m, x: m.relu(x.chunk(2)[0]), "shares memory with others"),
        (lambda m, x: x.unsqueeze_(0), r"gives shape \(1, 4, 4\), and the Variable has \(4, 4\)"),
        (lambda m, x: x.zero_(), "zero_ would change a Variable in place"),
        (lambda m, x: (x.__setitem__(0, 1.0), x)[1], "__setitem__ would change a Variable in place"),
        (lambda m, x: add_to(torch.zeros(4, 4).double(), x), "would write a Variable into a tensor outside the graph"),
    ],
)
def test_in_place_where_others_would_see_it(use: Any, message: str) -> None:
    mine = interop.from_torch(InPlace(use).double())
    with pytest.raises(RuntimeError, match=message):
        mine(row(4, 4))


def test_in_place_on_plain_tensors_as_in_pytorch() -> None:
    twin = InPlace(lambda m, x: use_old(m, x, lambda old, new: old + new)).double().eval()
    mine = interop.from_torch(twin)
    x, (a, b) = row(4, 4), (row(3), row(3))
    b.copy_(a)
    with nn.no_grad(), torch.no_grad():
        assert torch.equal(mine(x), twin(x))
        assert mine.relu(a) is a
        twin.relu(b)
        assert torch.equal(a, b)
    leaf = nn.Variable(torch.tensor([-1.0, 2.0]))
    mine.relu(leaf).sum().backward()
    assert leaf.grad_v.tolist() == [0.0, 1.0]
    with pytest.raises(RuntimeError, match="add_ would change a Variable in place"):
        add_to(mine.first(x), 1)  # outside of a forward that was written for PyTorch

"""What recompute is for: what is alive after forward, and when what is computed again dies."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from modgrad import nn
from modgrad.graph.call import COMPUTED_AGAIN
from tests.graph.test_recompute import Block, Doubled, assert_the_same, step


def held(model: Callable[[Any], Any], x: Any) -> tuple[int, int]:
    """Bytes of the tensors alive after forward, and the most that were after any operation until backward ended."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Watch(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()
            self.storages: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
            self.most = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            for value in result if isinstance(result, (tuple, list)) else (result,):
                if isinstance(value, Tensor):
                    storage = value.untyped_storage()
                    self.storages[storage._cdata] = storage
            self.most = max(self.most, self.now())
            return result

        def now(self) -> int:
            return sum(s.nbytes() for s in self.storages.values())

    with Watch() as watch:
        y = model(x)
        after = watch.now()
        loss = (y * y).sum()
        loss.backward()
    return after, watch.most


def test_memory_of_a_deep_model() -> None:
    layers = [nn.Sequential(nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh()) for _ in range(12)]
    plain = nn.Sequential(*layers)
    marked = copy.deepcopy(plain)
    for block in marked:
        nn.recompute(block)
    x = torch.randn(1024, 32)
    value = x.numel() * x.element_size()
    after, most = held(plain, x)
    after_marked, most_marked = held(marked, x)
    assert after >= 24 * value
    assert after_marked <= 13 * value, "one value for each block"
    assert most_marked <= most - 8 * value


def test_memory_of_a_primitive() -> None:
    """The value dies after forward; one computation serves all that need it; and it dies with the last of them."""

    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.twice = nn.recompute(Doubled())
            self.q, self.k = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: Any) -> Any:
            y = self.twice(x * 3)
            return self.q(y) * self.k(y)

    model = Heads()
    loss = model(nn.Variable(torch.ones(2, 4))).sum()
    assert model.twice.ran[0]() is None
    loss.backward()
    assert len(model.twice.ran) == 2, "computed again once"
    assert model.twice.ran[1]() is None
    assert not COMPUTED_AGAIN
    assert_the_same(Heads(), lambda m: nn.recompute(m.twice, False), step((2, 4)))


def test_memory_in_a_run_of_primitives() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.recompute(Doubled()), nn.Linear(4, 4))
    y = model(torch.ones(2, 4))
    assert model[1].ran[0]() is None
    y.sum().backward()
    assert len(model[1].ran) == 2
    assert_the_same(model, lambda m: nn.recompute(m[1], False), step((2, 4)))


def test_a_value_that_somebody_holds_is_not_computed_again() -> None:
    double, linear = nn.recompute(Doubled()), nn.Linear(4, 4)
    y = double(nn.Variable(torch.ones(2, 4)))
    linear(y).sum().backward()
    assert len(double.ran) == 1
    y = double(nn.Variable(torch.ones(2, 4)))
    loss = linear(y).sum()
    y.detach().add_(1)  # after that, it is
    loss.backward()
    assert len(double.ran) == 3
    assert torch.equal(linear.weight.grad_v, torch.full((4, 4), 8.0))  # 2 rows, twice, of 2
    y = double(nn.Variable(torch.ones(2, 4)))
    y.detach().add_(1)  # before it is saved: the changed value is what counts
    linear.zero_grad()
    linear(y).sum().backward()
    assert torch.equal(linear.weight.grad_v, torch.full((4, 4), 6.0))


def test_a_primitive_that_saves_its_output_is_left_alone() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.recompute(nn.Tanh()), nn.Linear(4, 4))
    y = model(torch.ones(2, 4))
    call = y._source[0]
    assert isinstance(call.saved[0], Tensor)
    assert_the_same(model, lambda m: nn.recompute(m[1], False), step((2, 4)))


def test_marked_dropout() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(), nn.Linear(4, 4), Doubled(), nn.Linear(4, 4))
    assert_the_same(model, lambda m: [nn.recompute(m[1]), nn.recompute(m[3])], step((5, 4)))


def test_a_marked_value_into_a_marked_composite() -> None:
    model = nn.Sequential(nn.Linear(4, 4), Doubled(), Block(), nn.Linear(4, 4))
    assert_the_same(model, lambda m: [nn.recompute(m[1]), nn.recompute(m[2])], step((5, 4)))
    nn.recompute(model[1])
    nn.recompute(model[2])
    y = model(torch.ones(5, 4))
    assert model[1].ran[-1]() is None
    y.sum().backward()


def _norm_and_relu() -> nn.Sequential:
    layers = [nn.Conv2d(2, 2, 3, padding=1), nn.BatchNorm2d(2), nn.ReLU()]
    return nn.Sequential(*layers, *copy.deepcopy(layers), nn.Conv2d(2, 2, 3, padding=1))


def _mark_norms_and_relus(model: Any) -> None:
    for module in model:
        if isinstance(module, (nn.BatchNorm2d, nn.ReLU)):
            nn.recompute(module)


def test_memory_of_a_norm_and_the_activation_behind_it() -> None:
    """ReLU has saved its output, and needs its input to compute it again; which BatchNorm2d need not keep either."""
    plain, marked = _norm_and_relu(), _norm_and_relu()
    _mark_norms_and_relus(marked)
    x = torch.randn(8, 2, 16, 16)
    value = x.numel() * x.element_size()
    after, _ = held(plain, x)
    after_marked, _ = held(marked, x)
    assert after >= 5 * value
    assert after_marked <= 3.1 * value, "one value for each convolution"
    assert not COMPUTED_AGAIN


def test_a_norm_and_the_activation_behind_it_give_the_same() -> None:
    assert_the_same(_norm_and_relu(), _mark_norms_and_relus, step((3, 2, 4, 4)))


def test_a_long_chain_of_marked_activations() -> None:
    """Each value is computed again from one before at most, not from the beginning."""
    model = nn.Sequential(*(layer for _ in range(20) for layer in (Doubled(), nn.Tanh())), nn.Linear(4, 4))
    assert_the_same(model, lambda m: [nn.recompute(module) for module in m], step((2, 4)))
    y = model(nn.Variable(torch.ones(2, 4)))
    y.sum().backward()
    assert all(len(module.ran) <= 5 for module in model if isinstance(module, Doubled))

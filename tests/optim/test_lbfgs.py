"""L-BFGS against PyTorch's, and its line search by itself."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch

from modgrad import nn, optim
from modgrad.optim.lbfgs import direction
from modgrad.optim.line_search import Point, minimum_of_cubic, strong_wolfe
from tests.optim.models import assert_same, models, train

OPTIONS: list[dict[str, Any]] = [
    {},
    {"lr": 0.5, "max_iter": 7},
    {"max_iter": 5, "history_size": 2},
    {"line_search_fn": "strong_wolfe"},
    {"line_search_fn": "strong_wolfe", "lr": 5.0, "max_iter": 10, "history_size": 3},
    {"line_search_fn": "strong_wolfe", "lr": 1e-3, "max_iter": 6, "max_eval": 9},
    {"line_search_fn": "strong_wolfe", "tolerance_grad": 1e-2, "tolerance_change": 1e-3},
]
EXACT = {"rtol": 1e-12, "atol": 1e-14}  # the same operations on the same gradients
# Against autograd's gradients: their last digits are divided by one another, at each of twenty iterations.
CLOSE = {"rtol": 1e-6, "atol": 1e-7}


def rosenbrock(a: Any, b: Any) -> Any:
    return ((1 - a) ** 2 + 100 * (b - a**2) ** 2).sum()


def wavy(a: Any, b: Any) -> Any:
    """Several minima and steep walls, so that a line search has to narrow down."""
    return (3 * (a**2 - 1) ** 2 + (2 * a * b).tanh() + (b**2 - 0.5) ** 2).sum()


def closure_of(optimizer: Any, function: Any, pair: list[Any], calls: list[float]) -> Callable[[], Any]:
    def closure() -> Any:
        optimizer.zero_grad()
        loss = function(*pair)
        loss.backward()
        calls.append(float(loss))
        return loss

    return closure


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("function", [rosenbrock, wavy])
def test_calls_and_points_are_pytorchs(options: dict[str, Any], function: Any) -> None:
    """Every loss that it asks for, by the same gradients."""
    start = [torch.tensor([-1.2, 0.3], dtype=torch.float64), torch.tensor([1.0, -0.7], dtype=torch.float64)]
    if function is rosenbrock and "line_search_fn" not in options:
        options = {**options, "lr": 1e-3}  # or it leaves for infinity
    ran = []
    for library in (optim, torch.optim):
        pair: list[Any] = [nn.Parameter(value.clone()) for value in start]
        optimizer: Any = library.LBFGS(pair, **options)
        calls: list[float] = []
        for _ in range(4):
            optimizer.step(closure_of(optimizer, function, pair, calls))
        ran.append((calls, [param.data for param in pair], optimizer.state_dict()["state"][0]))
    (calls, points, state), (their_calls, their_points, their_state) = ran
    assert len(calls) == len(their_calls)
    torch.testing.assert_close(calls, their_calls, **EXACT)
    torch.testing.assert_close(points, their_points, **EXACT)
    for key in ("func_evals", "n_iter"):
        assert state[key] == their_state[key]
    assert len(state["old_dirs"]) == len(their_state["old_dirs"])


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_trains_as_pytorchs_and_states_go_both_ways(options: dict[str, Any]) -> None:
    mine, pytorchs = models()
    here, there = optim.LBFGS(mine.parameters(), **options), torch.optim.LBFGS(pytorchs.parameters(), **options)
    torch.testing.assert_close(train(mine, here, 1), train(pytorchs, there, 1), **CLOSE)
    assert_same(mine, pytorchs, **CLOSE)
    twin, other, another = (copy.deepcopy(mine) for _ in range(3))  # with the same gradients, bit for bit
    there = torch.optim.LBFGS(twin.parameters(), **options)
    there.load_state_dict(copy.deepcopy(here.state_dict()))
    train(mine, here, 2)
    train(twin, there, 2)
    assert_same(mine, twin, **EXACT)
    other.load_state_dict(mine.state_dict())
    another.load_state_dict(mine.state_dict())
    back, over = optim.LBFGS(other.parameters()), torch.optim.LBFGS(another.parameters())
    back.load_state_dict(pickle.loads(pickle.dumps(there.state_dict())))
    over.load_state_dict(pickle.loads(pickle.dumps(here.state_dict())))
    for model, optimizer in ((mine, here), (twin, there), (other, back), (another, over)):
        train(model, optimizer, 2, seed=2)
    for model in (twin, other, another):
        assert_same(mine, model, **EXACT)


def test_frozen_parameters_stay() -> None:
    mine, _ = models()
    optimizer = optim.LBFGS(mine.parameters(), line_search_fn="strong_wolfe")
    train(mine, optimizer, 1)
    mine[0].freeze()
    before = mine[0].weight.data.clone()
    train(mine, optimizer, 3)
    assert torch.equal(mine[0].weight.data, before)


def test_single_precision_reaches_the_minimum() -> None:
    pair: list[Any] = [nn.Parameter(torch.tensor([-1.2])), nn.Parameter(torch.tensor([1.0]))]
    optimizer = optim.LBFGS(pair, max_iter=100, line_search_fn="strong_wolfe")
    optimizer.step(closure_of(optimizer, rosenbrock, pair, []))
    torch.testing.assert_close(torch.cat([param.data for param in pair]), torch.ones(2), rtol=1e-3, atol=1e-3)


def test_direction_is_newtons_on_a_parabola() -> None:
    """After as many steps as there are dimensions it knows all of the Hessian."""
    hessian = torch.diag(torch.tensor([1.0, 10.0, 100.0], dtype=torch.float64))
    steps = list(torch.eye(3, dtype=torch.float64))
    changes = [hessian @ step for step in steps]
    inverses = [1 / float(s.dot(y)) for s, y in zip(steps, changes, strict=True)]
    gradient = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    found = direction(gradient, steps, changes, inverses, 0.3)
    torch.testing.assert_close(found, -torch.linalg.solve(hessian, gradient), rtol=1e-12, atol=0)


@pytest.mark.parametrize("first", [1e-4, 0.1, 1.0, 7.0, 50.0])
@pytest.mark.parametrize("function", [lambda t: ((t - 2) ** 2, 2 * (t - 2)), lambda t: (-math.sin(t), -math.cos(t))])
def test_line_search_keeps_its_word(function: Any, first: float) -> None:
    nothing = torch.zeros(1)

    def evaluate(t: float) -> Point:
        loss, slope = function(t)
        return Point(t, loss, nothing, slope)

    start = evaluate(0.0)
    point, evaluations = strong_wolfe(evaluate, start, first, 1.0, 1e-9, 25)
    assert 1 <= evaluations <= 26
    assert point.loss <= start.loss + 1e-4 * point.t * start.slope
    assert abs(point.slope) <= 0.9 * abs(start.slope)


def test_minimum_of_cubic() -> None:
    nothing = torch.zeros(1)

    def point(t: float) -> Point:
        return Point(t, t**3 - 3 * t, nothing, 3 * t**2 - 3)

    for a, b in ((0.0, 3.0), (3.0, 0.0), (0.5, 4.0)):
        assert math.isclose(minimum_of_cubic(point(a), point(b), 0.0, 4.0), 1.0, rel_tol=1e-9)
    assert minimum_of_cubic(point(0.0), point(3.0), 1.5, 3.0) == 1.5
    line = [Point(t, t, nothing, 1.0) for t in (0.0, 1.0)]
    assert minimum_of_cubic(*line, 0.0, 1.0) == 0.5
    assert minimum_of_cubic(line[0], line[0], 0.0, 1.0) == 0.5


def parameter() -> Any:
    return nn.Parameter(torch.ones(2))


ERRORS: list[tuple[Any, type[Exception], str]] = [
    (lambda: optim.LBFGS([parameter()]).step(), TypeError, r"needs a closure.*write optimizer.step\(closure\)"),
    (lambda: optim.LBFGS([{"params": [parameter()]}, {"params": [parameter()]}]), ValueError, "one group only"),
    (lambda: optim.LBFGS([parameter()], line_search_fn="golden"), ValueError, "'golden'.*'strong_wolfe', or None"),
    (lambda: optim.LBFGS([parameter()], lr=-1.0), ValueError, "lr=-1.0"),
]


@pytest.mark.parametrize(("make", "error", "message"), ERRORS, ids=[row[2] for row in ERRORS])
def test_errors(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()

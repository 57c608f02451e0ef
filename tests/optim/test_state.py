"""States that go to PyTorch's optimizers and come back; groups; what is frozen and begins later."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch

from modgrad import nn, optim
from tests.optim.common import EXACT, SETTINGS, assert_alike, course, exact, make, mine, ours, theirs

every_setting = pytest.mark.parametrize(("name", "options"), SETTINGS, ids=str)


def moved(params: list[Any], kind: Any) -> list[Any]:
    return [kind(param.data.clone()) for param in params]


@every_setting
def test_goes_to_pytorch_and_back(name: str, options: dict[str, Any]) -> None:
    """50 steps here and 50 there are 100 steps, in both directions, by what was pickled."""
    a, b = mine(name), theirs(name)
    here, there = ours(name, a, options), make(torch.optim, name, b, options)
    course(a, here, 50)
    course(b, there, 50)
    over, back = moved(a, torch.nn.Parameter), moved(b, nn.Parameter)
    taken, returned = make(torch.optim, name, over, {}), ours(name, back, {})
    taken.load_state_dict(pickle.loads(pickle.dumps(here.state_dict())))
    returned.load_state_dict(pickle.loads(pickle.dumps(there.state_dict())))
    course(over, taken, 50, first=50)
    course(back, returned, 50, first=50)
    course(a, here, 50, first=50)
    course(b, there, 50, first=50)
    for others in (b, over, back):
        assert_alike(a, others, **exact(name))


@every_setting
def test_says_what_pytorchs_says(name: str, options: dict[str, Any]) -> None:
    """The same keys in groups and states, of the same kinds."""
    a, b = mine(name), theirs(name)
    here, there = ours(name, a, options), make(torch.optim, name, b, options)
    for _ in range(2):
        mine_, their = here.state_dict(), there.state_dict()
        assert [set(group) for group in mine_["param_groups"]] == [set(group) for group in their["param_groups"]]
        assert mine_["param_groups"] == their["param_groups"]
        if here.state:
            assert mine_["state"].keys() == their["state"].keys()
            for number, state in their["state"].items():
                assert {k: v.shape for k, v in mine_["state"][number].items()} == {k: v.shape for k, v in state.items()}
                assert {k: v.dtype for k, v in mine_["state"][number].items()} == {k: v.dtype for k, v in state.items()}
        course(a, here, 1)
        course(b, there, 1)


@every_setting
def test_groups_and_one_that_is_added(name: str, options: dict[str, Any]) -> None:
    a, b = mine(name), theirs(name)
    for params, library in ((a, optim), (b, torch.optim)):
        groups = [{"params": params[:1], "lr": 0.05}, {"params": params[1]}]
        optimizer = make(library, name, groups, {"lr": 0.01, **options})
        course(params, optimizer, 3)
        optimizer.add_param_group({"params": params[2:], "lr": 0.02})
        course(params, optimizer, 4, first=3)
    assert_alike(a, b, **exact(name))


@every_setting
def test_frozen_parameters_stay(name: str, options: dict[str, Any]) -> None:
    """Bit for bit, also when frozen later, with a gradient left; let go again they go on where they were."""
    a, b = mine(name), theirs(name)
    here, there = ours(name, a, options), make(torch.optim, name, b, options)
    a[1].grad_f = False
    before = a[1].data.clone()

    def step(first: int) -> None:
        course(a, here, 2, first)
        for number in range(first, first + 2):
            course(b, _without(there, b[1], frozen=not a[1].grad_f), 1, number)

    for frozen in (True, False, True, False):
        a[1].grad_f = not frozen
        before = a[1].data.clone()
        step(2 * int(frozen))
        assert torch.equal(a[1].data, before) == (frozen or not before.numel())
    assert_alike(a, b, **exact(name))


def _without(optimizer: Any, param: Any, frozen: bool) -> Any:
    """PyTorch's optimizer, which passes over what has no gradient."""

    class Stepping:
        def step(self) -> None:
            if frozen:
                param.grad = None
            optimizer.step()

    return Stepping()


def test_parameters_that_began_together_share_their_counts() -> None:
    for name, options in SETTINGS:
        params = mine(name)
        optimizer: Any = ours(name, params, options)
        course(params, optimizer, 2)
        loaded: Any = ours(name, params, options)
        loaded.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        for each in (optimizer, loaded):
            for key in each.scalars:
                counts = {id(state[key]) for state in each.state.values() if key in state}
                assert len(counts) <= 1, name
        saved = optimizer.state_dict()["state"].values()
        tensors = [id(value) for state in saved for value in state.values()]
        assert len(tensors) == len(set(tensors)), "PyTorch counts each in place"


def test_adams_state_serves_adamw() -> None:
    params = mine("Adam")
    optimizer = optim.AdamW(params, lr=0.01)
    optimizer.load_state_dict(optim.Adam(params, weight_decay=0.1).state_dict())
    assert optimizer.param_groups[0]["decoupled_weight_decay"]
    assert optimizer.param_groups[0]["weight_decay"] == 0.1


def test_a_dampened_momentum_before_its_first_step() -> None:
    """What a program needs for it goes to nobody, and makes no difference to the steps."""
    options = {"lr": 0.1, "momentum": 0.9, "dampening": 0.5}
    for steps in (0, 1):
        a, b = mine("SGD"), mine("SGD")
        here, there = optim.SGD(a, **options), optim.SGD(b, **options)
        group = here.param_groups[0]
        for param, state in zip(a, here.initials(a, group), strict=True):
            here.state[param].update(state)
        assert not here.state_dict()["state"]
        course(a, here, steps)
        assert all(state.keys() == {"momentum_buffer"} for state in here.state_dict()["state"].values())
        later = optim.SGD(a)
        later.load_state_dict(here.state_dict())
        course(a, later, 3, first=steps)
        course(b, there, 3 + steps)
        assert_alike(a, b, **EXACT)


def test_steps_saved_as_plain_numbers() -> None:
    """As PyTorch saved them in earlier versions."""
    a, b = mine("Adam"), mine("Adam")
    here = optim.Adam(a)
    course(a, here, 2)
    saved = here.state_dict()
    for state in saved["state"].values():
        state["step"] = int(state["step"])
    there = optim.Adam(b)
    for one, other in zip(a, b, strict=True):
        other.data.copy_(one.data)
    there.load_state_dict(saved)
    course(a, here, 2, first=2)
    course(b, there, 2, first=2)
    assert_alike(a, b, **EXACT)

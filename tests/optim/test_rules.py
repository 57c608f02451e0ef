"""Every optimizer against PyTorch's: in place and by formula, in any dtype; the rules as pure functions."""

from __future__ import annotations

import contextlib
import copy
import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from modgrad import functional, nn, optim
from modgrad.optim import many
from tests.optim.common import EXACT, SETTINGS, assert_alike, course, exact, make, mine, ours, theirs, values

every_setting = pytest.mark.parametrize(("name", "options"), SETTINGS, ids=str)
BODIES = {"in place": contextlib.nullcontext, "formula": functional.formulas}


@pytest.fixture(params=["in place", "formula", "numbers in tensors"])
def bodies(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Both bodies of a rule; and the one in place as on a GPU, where a count is a tensor to the end."""
    if request.param == "numbers in tensors":
        monkeypatch.setattr(many, "_READABLE", set())
    return BODIES.get(request.param, contextlib.nullcontext)


@every_setting
def test_same_numbers_as_pytorch(name: str, options: dict[str, Any], bodies: Any) -> None:
    a, b = mine(name), theirs(name)
    with bodies():
        course(a, ours(name, a, options), 100)
    course(b, make(torch.optim, name, b, options), 100)
    assert_alike(a, b, **exact(name))


@every_setting
def test_single_precision(name: str, options: dict[str, Any], bodies: Any) -> None:
    a, b = mine(name, torch.float32), theirs(name, torch.float32)
    with bodies():
        course(a, ours(name, a, options), 10)
    course(b, make(torch.optim, name, b, options), 10)
    # ten steps of float32; Muon's matrices have 8 bits in between, of which a rounding may turn the last
    assert_alike(a, b, **({"rtol": 0.02, "atol": 0.02} if name == "Muon" else {"rtol": 1e-5, "atol": 3e-6}))
    assert all(param.dtype is torch.float32 for param in a)


@every_setting
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(name: str, options: dict[str, Any], dtype: torch.dtype) -> None:
    """As near to the truth as its digits allow: PyTorch's own rounds in other places."""
    a, b = mine(name, dtype), theirs(name, torch.float64)
    for one, other in zip(a, b, strict=True):
        other.data.copy_(one.data)
    options = {k: v for k, v in options.items() if k != "eps"}  # of which the square of 1e-8 is 0 in 16 bits
    if dtype is torch.float16 and name != "Muon" and "eps" in inspect.signature(getattr(optim, name)).parameters:
        options["eps"] = (1e-3, 1e-3) if name == "Adafactor" else 1e-3
    course(a, ours(name, a, options), 3)
    course(b, make(torch.optim, name, b, options), 3)
    for one, other in zip(a, b, strict=True):
        torch.testing.assert_close(one.data.double(), other.data, rtol=0.05, atol=0.05)
        assert one.dtype is dtype


@every_setting
def test_a_learning_rate_in_a_tensor(name: str, options: dict[str, Any], bodies: Any) -> None:
    options = {"lr": 0.01, **options}
    a, b = mine(name), mine(name)
    with bodies():
        course(a, ours(name, a, {**options, "lr": torch.tensor(options["lr"], dtype=torch.float64)}), 5)
    course(b, ours(name, b, options), 5)
    assert_alike(a, b, rtol=1e-6, atol=1e-7)  # the fused kernels take it in float32 from a GPU


def test_mixed_dtypes_in_one_group() -> None:
    for name, options in SETTINGS:
        dtypes = (torch.float32, torch.float64)
        a, b = [mine(name, dtype)[0] for dtype in dtypes], [theirs(name, dtype)[0] for dtype in dtypes]
        # Of Adafactor's first eps PyTorch takes that of the first parameter's dtype for all.
        given = {**options, "eps": (1e-6, 1e-3)} if name == "Adafactor" else options
        course(a, ours(name, a, given), 4)
        course(b, make(torch.optim, name, b, given), 4)
        assert_alike(a, b, **({"rtol": 0.02, "atol": 0.02} if name == "Muon" else {"rtol": 1e-5, "atol": 3e-6}))


@every_setting
def test_the_rule_changes_nothing_and_gives_what_the_optimizer_does(name: str, options: dict[str, Any]) -> None:
    parameter = mine(name)[0]
    optimizer: Any = ours(name, [parameter], options)
    group = optimizer.param_groups[0]
    memory = {key: value.clone() for key, value in optimizer.initial(parameter, group).items()}
    before, grad = values(name)[0], torch.ones_like(parameter.data)
    kept = {key: value.clone() for key, value in memory.items()}
    given = {key: memory.get(key) for key in optimizer._memory}
    if "step" in given:
        given["step"] = memory["step"] + 1
    if name == "SGD":
        given = {"momentum_buffer": None}
    new, *after = optimizer.rule(before, grad, *given.values(), **optimizer.hyper(group))
    assert torch.equal(before, values(name)[0])
    assert torch.equal(grad, torch.ones_like(grad))
    assert all(torch.equal(memory[key], kept[key]) for key in memory)
    parameter.grad_v = torch.ones_like(parameter.data)
    optimizer.step()
    torch.testing.assert_close(parameter.data, new, **EXACT)
    for key, value in zip([key for key in given if key != "step"], after, strict=True):
        if value is not None:
            torch.testing.assert_close(optimizer.state[parameter][key], value.to(kept.get(key, value).dtype), **EXACT)


@pytest.mark.parametrize("block", [2, 7])
def test_large_tensors_are_cut_and_small_ones_taken_together(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, options in SETTINGS:
        a, b = mine(name), mine(name)
        for params in (a, b):
            params.append(nn.Parameter(torch.ones(3, 4, dtype=torch.float64).T))  # in another order of memory
        here, there = ours(name, a, options), ours(name, b, options)
        for number in range(3):
            monkeypatch.setattr(many, "_BLOCK", block)
            course(a, here, 1, number)
            monkeypatch.undo()
            course(b, there, 1, number)
        for one, other in zip(a, b, strict=True):
            assert torch.equal(one.data, other.data), name


def lion(param: Tensor, grad: Tensor, mean: Tensor, lr: float, betas: Any, decay: float) -> None:
    """Chen et al. 2023, algorithm 2, line by line."""
    update = torch.lerp(grad, mean, betas[0])
    param.sub_(lr * (update.sign() + decay * param))
    mean.copy_(torch.lerp(grad, mean, betas[1]))


@pytest.mark.parametrize(
    "options", [{}, {"lr": 0.01, "betas": (0.8, 0.95), "weight_decay": 0.3}, {"maximize": True, "weight_decay": 0.1}]
)
def test_lion_is_the_papers(options: dict[str, Any], bodies: Any) -> None:
    a, b = mine("Lion"), theirs("Lion")
    with bodies():
        course(a, optim.Lion(a, **options), 100)
    means = [torch.zeros_like(param.data) for param in b]
    sign = -1 if options.get("maximize") else 1
    given = {"lr": 1e-4, "betas": (0.9, 0.99), "weight_decay": 0.0, **options}

    class Reference:
        def step(self) -> None:
            for param, mean in zip(b, means, strict=True):
                lion(param.data, sign * param.grad, mean, given["lr"], given["betas"], given["weight_decay"])

    course(b, Reference(), 100)
    assert_alike(a, b, **EXACT)


@every_setting
@pytest.mark.parametrize("strange", [torch.nan, torch.inf, 0.0])
def test_strange_gradients(name: str, options: dict[str, Any], strange: float, bodies: Any) -> None:
    """A NaN, an infinity or zeros among the gradients, once or always, leave what they leave in PyTorch, but for which
    of NaN and infinity: m + (g - m) / 10 may be one where 0.9 m + 0.1 g is the other."""
    for times in (1, 3):
        a, b = mine(name), theirs(name)
        for params, library in ((a, optim), (b, torch.optim)):
            optimizer = make(library, name, params, options)
            with bodies():
                for number in range(3):
                    for param in params:
                        param.grad = torch.full_like(param.data, strange if number < times else 0.5)
                        if number < times and strange and param.numel() > 1:
                            param.grad.view(-1)[1:] = 0.5
                    optimizer.step()
        for one, other in zip(a, b, strict=True):
            finite = other.data.isfinite()
            assert torch.equal(one.data.isfinite(), finite)
            torch.testing.assert_close(one.data[finite], other.data[finite], **exact(name))


def test_arguments_are_pytorchs() -> None:
    """The same names in the same order, with the same defaults."""
    for name in [*dict(SETTINGS), "SparseAdam", "LBFGS"]:
        a, b = (inspect.signature(getattr(library, name)).parameters for library in (optim, torch.optim))
        assert [(p.name, p.kind, p.default) for p in a.values()] == [(p.name, p.kind, p.default) for p in b.values()]


def grow(tensor: Tensor) -> None:
    tensor.mul_(3)


EDITS: list[tuple[str, dict[str, Any], str, Callable[[dict[str, Any]], Any]]] = [
    ("SGD", {}, "lr", lambda g: g.update(lr=0.3)),
    ("SGD", {"lr": torch.tensor(0.1)}, "lr in place", lambda g: grow(g["lr"])),
    ("SGD", {}, "momentum", lambda g: g.update(momentum=0.5)),
    ("SGD", {"momentum": 0.5}, "nesterov", lambda g: g.update(nesterov=True)),
    ("Adam", {}, "lr", lambda g: g.update(lr=0.3)),
    ("Adam", {"lr": torch.tensor(0.1)}, "lr in place", lambda g: grow(g["lr"])),
    ("Adam", {}, "betas", lambda g: g.update(betas=(0.5, 0.6))),
    ("Adam", {"betas": [0.9, 0.99]}, "betas in place", lambda g: g["betas"].__setitem__(0, 0.5)),
    ("Adam", {}, "a beta of its own", lambda g: g.update(beta1=0.5)),
    ("Adam", {}, "amsgrad", lambda g: g.update(amsgrad=True)),
    ("Adam", {}, "maximize", lambda g: g.update(maximize=True)),
    ("Adam", {}, "weight_decay", lambda g: g.update(weight_decay=0.2)),
    ("NAdam", {}, "momentum_decay", lambda g: g.update(momentum_decay=0.5)),
    ("RMSprop", {}, "centered", lambda g: g.update(centered=True)),
]


@pytest.mark.parametrize(("name", "options", "what", "edit"), EDITS, ids=[f"{e[0]}-{e[2]}" for e in EDITS])
def test_what_is_changed_in_a_group_counts_from_the_next_step(
    name: str, options: dict[str, Any], what: str, edit: Callable[[dict[str, Any]], Any]
) -> None:
    generator = torch.Generator().manual_seed(0)
    params = [nn.Parameter(torch.randn(3, generator=generator, dtype=torch.float64)) for _ in range(2)]
    optimizer = getattr(optim, name)(params, **{"lr": 0.1, **options})

    def step() -> None:
        for param in params:
            param.grad_v = torch.randn(3, generator=generator, dtype=torch.float64)
        optimizer.step()

    for _ in range(3):
        step()
    before = [param.data.clone() for param in params]
    edit(optimizer.param_groups[0])
    fresh = copy.deepcopy(optimizer)
    fresh._told.clear()
    anew = [param for group in fresh.param_groups for param in group["params"]]
    step()
    for param, other in zip(params, anew, strict=True):
        other.grad_v = param.grad_v
    fresh.step()
    for param, other, old in zip(params, anew, before, strict=True):
        assert param.data.equal(other.data)
        assert not param.data.equal(old)

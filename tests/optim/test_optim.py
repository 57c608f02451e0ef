"""Optimizers against PyTorch's, by kernel and by formula; PyTorch's own on modgrad's parameters."""

from __future__ import annotations

import contextlib
import pickle
from typing import Any

import pytest
import torch

from modgrad import functional, nn, optim

# 100 steps of float64: a few roundings each, which the steps neither damp nor grow.
EXACT = {"rtol": 1e-10, "atol": 1e-12}


def models(dtype: torch.dtype = torch.float64) -> tuple[nn.Module, torch.nn.Module]:
    twin = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Tanh(), torch.nn.Linear(5, 2)).to(dtype)
    mine = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)).to(dtype)
    mine.load_state_dict(twin.state_dict())
    return mine, twin


def train(model: Any, optimizer: Any, mse: Any, steps: int, seed: int = 1) -> None:
    generator = torch.Generator().manual_seed(seed)
    dtype = next(model.parameters()).dtype

    def closure() -> Any:
        optimizer.zero_grad()
        loss = mse(model(x), y)
        loss.backward()
        return loss

    for _ in range(steps):
        x = torch.randn(7, 3, generator=generator, dtype=torch.float64).to(dtype)
        y = torch.randn(7, 2, generator=generator, dtype=torch.float64).to(dtype)
        optimizer.step(closure)


def assert_same(mine: nn.Module, twin: torch.nn.Module, **tolerance: float) -> None:
    for (name, a), (_, b) in zip(mine.named_parameters(), twin.named_parameters(), strict=True):
        torch.testing.assert_close(a.data, b.data, msg=lambda m, n=name: f"{n}: {m}", **tolerance)


SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.01, "weight_decay": 0.1, "maximize": True}),
    ("Adam", {}),
    ("Adam", {"lr": 0.01, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.01, "amsgrad": True}),
    ("Adam", {"lr": 0.01, "amsgrad": True, "maximize": True, "weight_decay": 0.01}),
]
every_setting = pytest.mark.parametrize(("name", "options"), SETTINGS, ids=str)


@every_setting
@pytest.mark.parametrize("bodies", [contextlib.nullcontext, functional.formulas], ids=["kernel", "formula"])
def test_same_numbers_as_pytorch(name: str, options: dict[str, Any], bodies: Any) -> None:
    mine, twin = models()
    with bodies():
        train(mine, getattr(optim, name)(mine.parameters(), **options), nn.MSELoss(), 100)
    train(twin, getattr(torch.optim, name)(twin.parameters(), **options), torch.nn.MSELoss(), 100)
    assert_same(mine, twin, **EXACT)


@every_setting
def test_state_goes_to_pytorch_and_back(name: str, options: dict[str, Any]) -> None:
    mine, twin = models()
    mine_optimizer = getattr(optim, name)(mine.parameters(), **options)
    twin_optimizer = getattr(torch.optim, name)(twin.parameters(), **options)
    train(mine, mine_optimizer, nn.MSELoss(), 5)
    saved = pickle.dumps(mine_optimizer.state_dict())
    twin.load_state_dict(mine.state_dict())
    twin_optimizer.load_state_dict(pickle.loads(saved))
    train(twin, twin_optimizer, torch.nn.MSELoss(), 5, seed=2)
    resumed = getattr(optim, name)(mine.parameters(), lr=7.0)
    resumed.load_state_dict(pickle.loads(saved))
    assert resumed.param_groups[0]["lr"] == mine_optimizer.param_groups[0]["lr"]
    train(mine, resumed, nn.MSELoss(), 5, seed=2)
    assert_same(mine, twin, **EXACT)
    back = getattr(optim, name)(mine.parameters())
    back.load_state_dict(twin_optimizer.state_dict())
    train(mine, back, nn.MSELoss(), 5, seed=3)
    train(twin, twin_optimizer, torch.nn.MSELoss(), 5, seed=3)
    assert_same(mine, twin, **EXACT)


@every_setting
def test_low_precision(name: str, options: dict[str, Any]) -> None:
    mine, twin = models(torch.float32)
    train(mine, getattr(optim, name)(mine.parameters(), **options), nn.MSELoss(), 10)
    train(twin, getattr(torch.optim, name)(twin.parameters(), **options), torch.nn.MSELoss(), 10)
    assert_same(mine, twin, rtol=1e-5, atol=1e-6)  # ten steps of float32


@every_setting
def test_pure_rule_equals_kernel_over_one_step(name: str, options: dict[str, Any]) -> None:
    """The pure function by itself: it changes nothing, and gives what the optimizer does in place."""
    parameter = nn.Parameter(torch.randn(4, dtype=torch.float64))
    before, grad = parameter.detach().clone(), torch.randn(4, dtype=torch.float64)
    hyper = dict(options)
    parameter.grad_v = grad.clone()
    getattr(optim, name)([parameter], **options).step()
    if name == "SGD":
        new, _ = optim.sgd(before, grad, None, **{"lr": 1e-3} | hyper)
    else:
        beta1, beta2 = hyper.pop("betas", (0.9, 0.999))
        zeros = torch.zeros(4, dtype=torch.float64)
        new, *_ = optim.adam(before, grad, zeros, zeros, None, 1, **{"lr": 1e-3} | hyper, beta1=beta1, beta2=beta2)
        assert not zeros.any()
    torch.testing.assert_close(parameter.detach(), new, **EXACT)


def test_mixed_dtypes_in_one_group() -> None:
    for make in (lambda p: optim.SGD(p, momentum=0.9), optim.Adam):
        pair = [nn.Parameter(torch.ones(3, dtype=d)) for d in (torch.float32, torch.float64)]
        optimizer = make(pair)
        for _ in range(3):
            for parameter in pair:
                parameter.grad_v = torch.ones_like(parameter)
            optimizer.step()
        torch.testing.assert_close(pair[0].detach().double(), pair[1].detach(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_frozen_parameters_stay(name: str) -> None:
    """Bit for bit, momentum and weight decay included, also when frozen later and let go again."""
    mine, twin = models()
    options = {"momentum": 0.9} if name == "SGD" else {}
    optimizer = getattr(optim, name)(mine.parameters(), lr=0.1, weight_decay=0.1, **options)
    twin_optimizer = getattr(torch.optim, name)(twin.parameters(), lr=0.1, weight_decay=0.1, **options)
    train(mine, optimizer, nn.MSELoss(), 3)
    train(twin, twin_optimizer, torch.nn.MSELoss(), 3)
    mine[0].freeze()
    twin[0].requires_grad_(False)
    twin[0].weight.grad = twin[0].bias.grad = None
    before = mine[0].weight.detach().clone()
    train(mine, optimizer, nn.MSELoss(), 3, seed=2)
    train(twin, twin_optimizer, torch.nn.MSELoss(), 3, seed=2)
    assert torch.equal(mine[0].weight.detach(), before)
    mine[0].unfreeze()
    twin[0].requires_grad_(True)
    train(mine, optimizer, nn.MSELoss(), 3, seed=3)
    train(twin, twin_optimizer, torch.nn.MSELoss(), 3, seed=3)
    assert_same(mine, twin, **EXACT)


def test_frozen_with_a_gradient_left_is_not_updated() -> None:
    parameter = nn.Parameter(torch.ones(2))
    optimizer = optim.SGD([parameter], lr=1.0)
    parameter.grad_v = torch.ones(2)
    parameter.grad_f = False
    optimizer.step()
    assert torch.equal(parameter.detach(), torch.ones(2))


def test_groups() -> None:
    mine, twin = models()
    for model, library in ((mine, optim), (twin, torch.optim)):
        optimizer = library.SGD(
            [{"params": model[0].parameters(), "lr": 0.5}, {"params": model[2].weight, "momentum": 0.9}], lr=0.1
        )
        optimizer.add_param_group({"params": [model[2].bias], "lr": 0.01})
        train(model, optimizer, (nn if model is mine else torch.nn).MSELoss(), 5)
    assert_same(mine, twin, **EXACT)


def test_own_optimizer() -> None:
    class Descent(optim.Optimizer):
        def __init__(self, params: Any, lr: float = 0.1) -> None:
            super().__init__(params, lr=lr)

        def update(self, params: Any, grads: Any, states: Any, group: Any) -> None:
            for param, grad, state in zip(params, grads, states, strict=True):
                state["count"] = state.get("count", 0) + 1
                param.sub_(group["lr"] * grad)

    mine, twin = models()
    optimizer = Descent(mine.parameters(), lr=0.05)
    assert optimizer.others == optimizer.defaults == {"lr": 0.05}
    train(mine, optimizer, nn.MSELoss(), 5)
    train(twin, torch.optim.SGD(twin.parameters(), lr=0.05), torch.nn.MSELoss(), 5)
    assert_same(mine, twin, **EXACT)
    assert optimizer.state_dict()["state"][0] == {"count": 5}


PYTORCH: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "fused": True}),
    ("Adam", {"weight_decay": 0.1}),
    ("Adam", {"foreach": True, "weight_decay": 0.1}),
    ("Adam", {"fused": True, "amsgrad": True}),
    ("AdamW", {"amsgrad": True}),
    ("Adamax", {"weight_decay": 0.1}),
    ("NAdam", {"weight_decay": 0.1}),
    ("RAdam", {"weight_decay": 0.1}),
    ("Adagrad", {"weight_decay": 0.1}),
    ("Adadelta", {"weight_decay": 0.1}),
    ("Adafactor", {}),
    ("RMSprop", {"weight_decay": 0.1, "momentum": 0.5, "centered": True}),
    ("Rprop", {}),
    ("ASGD", {"weight_decay": 0.1}),
    ("LBFGS", {"max_iter": 5}),
]


@pytest.mark.parametrize(("name", "options"), PYTORCH, ids=str)
def test_pytorchs_optimizers_work_on_modgrads_parameters(name: str, options: dict[str, Any]) -> None:
    mine, twin = models()
    train(mine, getattr(torch.optim, name)(mine.parameters(), **options), nn.MSELoss(), 10)
    train(twin, getattr(torch.optim, name)(twin.parameters(), **options), torch.nn.MSELoss(), 10)
    assert_same(mine, twin, **EXACT)


def test_pytorchs_clipping_works_on_modgrads_parameters() -> None:
    mine, twin = models()
    x, y = torch.randn(7, 3, dtype=torch.float64), torch.randn(7, 2, dtype=torch.float64)
    (nn.MSELoss()(mine(x), y) * 100).backward()
    (torch.nn.MSELoss()(twin(x), y) * 100).backward()
    norms = [torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0) for model in (mine, twin)]
    torch.testing.assert_close(*norms, **EXACT)
    for a, b in zip(mine.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a.grad_v, b.grad, **EXACT)
        assert a.grad is a.grad_v


def test_zero_grad() -> None:
    parameter = nn.Parameter(torch.ones(2))
    parameter.grad_v = torch.ones(2)
    optimizer = optim.SGD([parameter])
    optimizer.zero_grad(set_to_none=False)
    assert torch.equal(parameter.grad_v, torch.zeros(2))
    optimizer.zero_grad()
    assert parameter.grad_v is None


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda p: optim.SGD([]), ValueError, "no parameters"),
        (lambda p: optim.SGD(p), TypeError, r"write \[parameter\]"),
        (lambda p: optim.SGD([torch.ones(2)]), TypeError, "updates nn.Parameter, got Tensor"),
        (lambda p: optim.SGD([p, p]), ValueError, "appears twice"),
        (lambda p: optim.SGD([p], lr=-1), ValueError, "lr=-1"),
        (lambda p: optim.SGD([p], nesterov=True), ValueError, "momentum above 0"),
        (lambda p: optim.Adam([p], betas=(0.9, 1.0)), ValueError, "from 0 to below 1"),
        (lambda p: optim.Adam([p], eps=-1.0), ValueError, "eps=-1.0"),
        (
            lambda p: optim.Adam([p]).load_state_dict(optim.Adam([p, nn.Parameter(p.data)]).state_dict()),
            ValueError,
            "groups",
        ),
    ],
)
def test_errors(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make(nn.Parameter(torch.ones(2)))


def test_an_optimizer_without_update_says_so() -> None:
    parameter = nn.Parameter(torch.ones(2))
    parameter.grad_v = torch.ones(2)
    with pytest.raises(RuntimeError, match="write def update"):
        optim.Optimizer([parameter]).step()

"""What all optimizers share: groups, hooks, closures, errors; one's own; PyTorch's on modgrad's parameters."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import pytest
import torch

from modgrad import nn, optim
from tests.optim.common import EXACT, SETTINGS, mine, ours
from tests.optim.models import assert_same, models, train

NAMES = sorted({name for name, _ in SETTINGS})


def test_a_step_with_a_closure() -> None:
    for name in NAMES:
        if name == "Muon":
            continue  # which leaves out a model's biases
        a, b = models()
        losses = train(a, getattr(optim, name)(a.parameters()), 5)
        others = train(b, getattr(torch.optim, name)(b.parameters()), 5)
        torch.testing.assert_close(losses, others, rtol=1e-7, atol=1e-7)
        assert_same(a, b, rtol=1e-7, atol=1e-7)


def test_frozen_with_a_gradient_left_is_not_updated() -> None:
    parameter = nn.Parameter(torch.ones(2))
    optimizer = optim.SGD([parameter], lr=1.0)
    parameter.grad_v = torch.ones(2)
    parameter.grad_f = False
    optimizer.step()
    assert torch.equal(parameter.detach(), torch.ones(2))


@pytest.mark.parametrize("name", NAMES)
def test_backward_through_values_before_the_update_is_refused(name: str) -> None:
    """And what was made of a parameter before, as its cast under autocast, is made anew."""
    parameter, x = nn.Parameter(torch.ones(2, 2)), nn.Variable(torch.ones(1, 2))
    optimizer = getattr(optim, name)([parameter])
    for dtype in (None, torch.bfloat16):
        with nn.autocast("cpu", dtype, enabled=dtype is not None):
            parameter.grad_v = torch.ones(2, 2)
            y = (x @ parameter).sum()
            before = parameter.detach().clone()
            optimizer.step()
            assert not torch.equal(parameter.detach(), before)
            again = (x @ parameter).sum()
            assert again.item() == parameter.detach().to(dtype or torch.float32).sum().item()
        if dtype is None:
            with pytest.raises(RuntimeError, match="was changed in place after forward"):
                y.backward()


def test_own_optimizer() -> None:
    class Descent(optim.Optimizer):
        def __init__(self, params: Any, lr: float = 0.1) -> None:
            super().__init__(params, lr=lr)

        def update(self, params: Any, grads: Any, states: Any, group: Any) -> None:
            for param, grad, state in zip(params, grads, states, strict=True):
                state["count"] = state.get("count", 0) + 1
                param.sub_(group["lr"] * grad)

    mine_, twin = models()
    optimizer = Descent(mine_.parameters(), lr=0.05)
    assert optimizer.others == optimizer.defaults == {"lr": 0.05}
    train(mine_, optimizer, 5)
    train(twin, torch.optim.SGD(twin.parameters(), lr=0.05), 5)
    assert_same(mine_, twin, **EXACT)
    assert optimizer.state_dict()["state"][0] == {"count": 5}


def test_own_rule() -> None:
    """A rule by itself is an optimizer: what it keeps and is told stands in its signature."""

    def signed(param: Any, grad: Any, seen: Any, step: Any, *, lr: float) -> Any:
        return param - lr / step * grad.sign(), seen + 1

    class Signed(optim.RuleOptimizer):
        rule = staticmethod(signed)

        def __init__(self, params: Any, lr: float = 1.0) -> None:
            super().__init__(params, lr=lr)

    parameter = nn.Parameter(torch.zeros(2))
    optimizer = Signed([parameter])
    for _ in range(3):
        parameter.grad_v = torch.tensor([2.0, -3.0])
        optimizer.step()
    torch.testing.assert_close(parameter.data, torch.tensor([-1.0, 1.0]) * (1 + 1 / 2 + 1 / 3))
    assert torch.equal(optimizer.state[parameter]["seen"], torch.full((2,), 3.0))
    assert optimizer.state[parameter]["step"] == 3


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
    mine_, twin = models()
    train(mine_, getattr(torch.optim, name)(mine_.parameters(), **options), 10)
    train(twin, getattr(torch.optim, name)(twin.parameters(), **options), 10)
    assert_same(mine_, twin, **EXACT)


def test_zero_grad() -> None:
    parameter = nn.Parameter(torch.ones(2))
    parameter.grad_v = torch.ones(2)
    optimizer = optim.SGD([parameter])
    optimizer.zero_grad(set_to_none=False)
    assert torch.equal(parameter.grad_v, torch.zeros(2))
    optimizer.zero_grad()
    assert parameter.grad_v is None


def test_the_gradients_stay_as_they_are() -> None:
    for name, options in SETTINGS:
        for parameter in mine(name):
            grad = torch.ones_like(parameter.data)
            parameter.grad_v = grad
            optimizer = ours(name, [parameter], options)
            optimizer.step()
            optimizer.step()
            assert parameter.grad_v is grad
            assert torch.equal(grad, torch.ones_like(grad)), name
            held = [value for value in optimizer.state[parameter].values() if isinstance(value, torch.Tensor)]
            assert all(value.data_ptr() != grad.data_ptr() for value in held if grad.numel()), name


def test_named_parameters() -> None:
    model, twin = models()
    here = optim.SGD(model.named_parameters(), lr=0.1)
    there = torch.optim.SGD(twin.named_parameters(), lr=0.1)
    assert here.state_dict()["param_groups"] == there.state_dict()["param_groups"]
    assert here.param_groups[0]["param_names"] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    train(model, here, 2)
    train(twin, there, 2)
    assert_same(model, twin, **EXACT)


def test_hooks_around_a_step() -> None:
    parameter = nn.Parameter(torch.ones(2))
    optimizer = optim.SGD([parameter], lr=0.5)
    seen: list[Any] = []

    def before(it: Any, args: Any, kwargs: Any) -> None:
        seen.append(("before", it is optimizer, args, kwargs, parameter.data[0].item()))

    def after(it: Any, args: Any, kwargs: Any) -> None:
        seen.append(("after", it is optimizer, args, kwargs, parameter.data[0].item()))

    handles = [optimizer.register_step_pre_hook(before), optimizer.register_step_post_hook(after)]
    parameter.grad_v = torch.ones(2)
    optimizer.step()
    assert seen == [("before", True, (), {}, 1.0), ("after", True, (), {}, 0.5)]
    assert not copy.deepcopy(optimizer).has_step_hooks
    pickle.dumps(optimizer)
    for handle in handles:
        handle.remove()
    optimizer.step()
    assert len(seen) == 2
    optimizer.register_step_pre_hook(lambda it, args, kwargs: ((lambda: 7,), {}))
    assert optimizer.step() == 7
    optimizer.register_step_pre_hook(lambda it, args, kwargs: 3)
    with pytest.raises(RuntimeError, match=r"gave 3: expected None, or \(args, kwargs\)"):
        optimizer.step()


def test_hooks_around_saving() -> None:
    optimizer = optim.SGD([nn.Parameter(torch.ones(2))], lr=0.5)
    calls: list[str] = []
    optimizer.register_state_dict_pre_hook(lambda it: calls.append("saving"))
    optimizer.register_state_dict_post_hook(lambda it, state: {**state, "note": 1})
    optimizer.register_state_dict_post_hook(lambda it, state: {**state, "order": "note" in state}, prepend=True)
    saved = optimizer.state_dict()
    assert (saved["note"], saved["order"], calls) == (1, False, ["saving"])
    optimizer.register_load_state_dict_pre_hook(lambda it, state: calls.append(f"note {state.pop('note')}"))
    optimizer.register_load_state_dict_post_hook(lambda it: calls.append("loaded"))
    optimizer.load_state_dict(saved)
    assert calls[1:] == ["note 1", "loaded"]
    assert saved["note"] == 1


def test_repr_is_pytorchs() -> None:
    for name, options in SETTINGS:
        b = getattr(torch.optim, name)([torch.nn.Parameter(torch.ones(2, 2))], **options)
        a = getattr(optim, name)([nn.Parameter(torch.ones(2, 2))], **options)
        assert repr(a).replace("0.0\n", "0\n") == repr(b).replace("0.0\n", "0\n")


def p(*shape: int) -> Any:
    return nn.Parameter(torch.ones(shape or (2,)))


def sparse(parameter: Any) -> Any:
    parameter.grad_v = torch.ones(2).to_sparse()
    return parameter


ERRORS: list[tuple[str, Any, type[Exception], str]] = [
    ("no parameters", lambda: optim.SGD([]), ValueError, "no parameters"),
    ("one parameter", lambda: optim.SGD(p()), TypeError, r"write \[parameter\]"),
    ("a tensor", lambda: optim.SGD([torch.ones(2)]), TypeError, "updates nn.Parameter, got Tensor"),
    ("twice", lambda: optim.SGD([(q := p()), q]), ValueError, "appears twice"),
    ("a set", lambda: optim.SGD([{"params": {p()}}]), TypeError, "a set, whose order changes"),
    ("half the names", lambda: optim.SGD([("a", p()), p()]), ValueError, "name all or none"),
    ("lr", lambda: optim.SGD([p()], lr=-1), ValueError, "lr=-1"),
    ("a tensor lr", lambda: optim.SGD([p()], lr=torch.ones(2)), ValueError, r"a tensor of one, got shape \(2,\)"),
    ("nesterov", lambda: optim.SGD([p()], nesterov=True), ValueError, "momentum above 0"),
    ("betas", lambda: optim.Adam([p()], betas=(0.9, 1.0)), ValueError, "from 0 to below 1"),
    ("eps", lambda: optim.Adam([p()], eps=-1.0), ValueError, "eps=-1.0"),
    ("of a group", lambda: optim.Adam([{"params": [p()], "lr": -1.0}]), ValueError, "lr=-1.0"),
    ("momentum", lambda: optim.RMSprop([p()], momentum=-1.0), ValueError, r"RMSprop\(momentum=-1.0\)"),
    ("lr_decay", lambda: optim.Adagrad([p()], lr_decay=-1.0), ValueError, "lr_decay=-1.0"),
    ("rho", lambda: optim.Adadelta([p()], rho=1.5), ValueError, "rho=1.5.*from 0 to 1"),
    ("momentum_decay", lambda: optim.NAdam([p()], momentum_decay=-1.0), ValueError, "momentum_decay=-1.0"),
    ("etas", lambda: optim.Rprop([p()], etas=(1.2, 0.5)), ValueError, "one between 0 and 1, and one above 1"),
    ("d", lambda: optim.Adafactor([p()], d=0.5), ValueError, "d=0.5.*from 1 up"),
    ("beta2_decay", lambda: optim.Adafactor([p()], beta2_decay=0.5), ValueError, "beta2_decay=0.5.*up to 0"),
    ("two eps", lambda: optim.Adafactor([p()], eps=(None, -1.0)), ValueError, "one may be None"),
    ("a vector", lambda: optim.Muon([p()]), ValueError, r"updates matrices, got Parameter of shape \(2,\).*AdamW"),
    ("adjust", lambda: optim.Muon([p(2, 2)], adjust_lr_fn="x"), ValueError, "adjust_lr_fn='x'.*'match_rms_adamw'"),
    ("iterations", lambda: optim.Muon([p(2, 2)], ns_steps=100), ValueError, "ns_steps=100.*from 0 to 99"),
    ("coefficients", lambda: optim.Muon([p(2, 2)], ns_coefficients=(1, 2)), ValueError, "three numbers"),
    ("two bodies", lambda: optim.Adam([p()], foreach=True, fused=True), ValueError, "cannot be both"),
    ("sparse", lambda: optim.Adam([sparse(p())]).step(), RuntimeError, "sparse gradient of shape .*optim.SparseAdam"),
    ("complex", lambda: optim.Adam([nn.Parameter(torch.ones(2, dtype=torch.complex64))]), TypeError, "floating-point"),
    (
        "other sizes",
        lambda: optim.Adam([p()]).load_state_dict(optim.Adam([p(), p()]).state_dict()),
        ValueError,
        "groups",
    ),
]


@pytest.mark.parametrize(("make", "error", "message"), [row[1:] for row in ERRORS], ids=[row[0] for row in ERRORS])
def test_errors(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_differentiable_is_refused() -> None:
    for name in NAMES:
        if "differentiable" in inspect.signature(getattr(optim, name)).parameters:
            with pytest.raises(
                ValueError, match=rf"{name}\(differentiable=True\).*autograd.*optim.\w+ is that function"
            ):
                getattr(optim, name)([p(2, 2)], differentiable=True)


def test_an_optimizer_without_update_says_so() -> None:
    parameter = nn.Parameter(torch.ones(2))
    parameter.grad_v = torch.ones(2)
    with pytest.raises(RuntimeError, match="write def update"):
        optim.Optimizer([parameter]).step()

"""What from_torch refuses: each module by name, and why."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from modgrad import interop, nn
from tests.interop.compared import N


class Uses(N.Module):
    """Has a forward that does what its function does."""

    def __init__(self, use: Any = None) -> None:
        super().__init__()
        self.use = use

    def forward(self, x: Tensor) -> Any:
        return self.use(x)


def refusal(module: Any) -> str:
    with pytest.raises(TypeError) as error:
        interop.from_torch(module)
    return str(error.value)


class Straight(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad


def through(x: Any) -> Any:
    return Straight.apply(x)


@torch.no_grad()
def decorated(x: Any) -> Any:
    return x


def without_gradient(x: Any) -> Any:
    with torch.no_grad():
        return x + 1


def helped(x: Any) -> Any:
    return [without_gradient(y) for y in x]


def asks(x: Any) -> Any:
    return x if isinstance(x, N.Identity) else x + 1


ELSEWHERE = N.Linear(2, 2)


def elsewhere(x: Any) -> Any:
    return ELSEWHERE(x)


def mapped(x: Any) -> Any:
    return torch.func.vmap(torch.sin)(x)


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (
            without_gradient,
            r"without_gradient \(line \d+\) uses torch.no_grad, which modgrad does not heed: write .det",
        ),
        (helped, r"without_gradient \(line \d+\) uses torch.no_grad"),
        (decorated, "uses torch.no_grad"),
        (lambda x: torch.set_grad_enabled(False), "uses torch.set_grad_enabled"),
        (
            through,
            r"through \(line \d+\) uses Straight, whose backward would not be asked: write it as an nn.Primitive",
        ),
        (asks, r"asks \(line \d+\) asks whether something is a Identity, which its twin is not"),
        (elsewhere, r"elsewhere \(line \d+\) uses a Linear that is no part of the model.*make it an attribute"),
        (mapped, r"uses torch.func.vmap, which leaves the graph"),
    ],
)
def test_code_that_would_not_do_the_same(use: Any, message: str) -> None:
    import re

    text = refusal(N.Sequential(N.Linear(2, 2), Uses(use)))
    assert text.startswith("from_torch cannot convert 1 of 3 modules:\n  1 (Uses): ")
    assert re.search(message, text), text


@pytest.mark.filterwarnings("ignore")  # scripting is deprecated
def test_scripted_and_compiled_functions() -> None:
    def double(x: Tensor) -> Tensor:
        return x * 2

    scripted = torch.jit.script(double)
    assert "uses a scripted function" in refusal(Uses(lambda x: scripted(x)))
    compiled = torch.compile(double, backend="eager")
    assert "uses double, compiled by torch.compile: take the function itself" in refusal(Uses(lambda x: compiled(x)))


class ByName(Uses):
    def forward(self, x: Tensor) -> Any:
        return super(ByName, self).forward(x)  # noqa: UP008


class OfItsBase(ByName):
    def forward(self, x: Tensor) -> Any:
        return Uses.forward(self, x)


class Calls(Uses):
    def __call__(self, x: Tensor) -> Any:
        return x

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        return {}


class OddLinear(N.Linear):
    def __repr__(self) -> str:
        return "odd"


class Odd(N.TransformerEncoderLayer):
    def _ff_block(self, x: Tensor) -> Tensor:
        return x


class Frozen(N.Module):
    def train(self, mode: bool = True) -> Any:
        for module in self.modules():
            if isinstance(module, N.BatchNorm2d):
                module.eval()
        return self


@pytest.mark.filterwarnings("ignore")  # PyTorch's, of what it has given up
def test_each_module_that_cannot_be_converted_is_named() -> None:
    hooked = N.Linear(2, 2)
    hooked.register_forward_hook(lambda m, x, y: y)
    watched = N.Linear(2, 2)
    watched.register_full_backward_hook(lambda m, x, y: None)
    replaced = N.ReLU()
    replaced.forward = lambda x: x  # type: ignore[method-assign]
    whole = N.Linear(2, 2)
    whole.weight = N.Parameter(torch.ones(2, 2, dtype=torch.int8), requires_grad=False)
    wants = Uses(F.relu)
    wants.scale = torch.ones(1, requires_grad=True)
    other = Uses(F.relu)
    other.held = type("Box", (), {})()
    other.held.module = N.Linear(2, 2)
    outside = Uses(F.relu)
    outside.layers = [N.Linear(2, 2), N.LazyLinear(3)]
    model = N.ModuleDict(
        {
            "fine": N.Linear(2, 2),
            "lazy": N.LazyLinear(3),
            "hooked": hooked,
            "watched": watched,
            "normed": N.utils.weight_norm(N.Linear(2, 2)),
            "parametrized": N.utils.parametrizations.weight_norm(N.Linear(2, 2)),
            "quantized": torch.ao.nn.quantized.Linear(2, 2),
            "parallel": N.DataParallel(N.Linear(2, 2)),
            "scripted": torch.jit.script(N.Linear(2, 2)),
            "compiled": torch.compile(N.Linear(2, 2)),
            "replaced": replaced,
            "whole": whole,
            "by_name": ByName(F.relu),
            "of_its_base": OfItsBase(F.relu),
            "calls": Calls(F.relu),
            "odd": Odd(4, 2, 8),
            "linear": OddLinear(2, 2),
            "frozen": Frozen(),
            "sparse": N.Embedding(3, 2, sparse=True),
        }
    )
    text = refusal(model)
    for part in [
        "lazy (LazyLinear): it is lazy, and its parameters have no shape yet: call the model once",
        "hooked (Linear): it has a forward hook, <lambda>: remove it, and register it on the converted module",
        "watched (Linear): it has a backward hook, <lambda>: ",
        "normed (Linear): it has a forward pre-hook, WeightNorm: write torch.nn.utils.remove_weight_norm(module)",
        "parametrized (ParametrizedLinear): it has parametrizations, of weight: write torch.nn.utils.parametrize.",
        "quantized (Linear): it is quantized",
        "parallel (DataParallel): take what is in it, module.module",
        "scripted (RecursiveScriptModule): it is scripted: take the module that it was made from",
        "compiled (OptimizedModule): it is compiled: take the module itself, module._orig_mod",
        "replaced (ReLU): its forward was replaced on this one object: write a class",
        "whole (Linear): its parameter weight is of torch.int8, and only floating-point ones have gradients here",
        "by_name (ByName): ByName.forward",
        "calls a method of ByName by the class's name: write super()",
        "of_its_base (OfItsBase): OfItsBase.forward",
        "calls a method of Uses by the class's name: write super()",
        "calls (Calls): its class has its own __call__, state_dict in place of what Module has",
        "odd (Odd): its class has its own _ff_block in place of what TransformerEncoderLayer has",
        "linear (OddLinear): its class has its own __repr__ in place of what Linear has",
        "frozen (Frozen): Frozen.train",
        "asks whether something is a BatchNorm2d",
    ]:
        assert part in text, f"{part}\n{text}"
    assert "fine" not in text
    assert "sparse" not in text, "which is told when the rest can be converted"
    assert "(Embedding): Embedding(sparse=True): here a gradient" in refusal(N.Sequential(model["sparse"]))
    queue = Uses(F.relu)
    queue.held = deque([N.Linear(2, 2)])
    text = refusal(N.ModuleList([wants, other, outside, queue]))
    for part in [
        "0 (Uses): its attribute scale is a tensor that asks PyTorch's autograd for a gradient: make it a Parameter",
        "1 (Uses): its attribute held is a Box that holds a module or parameter of PyTorch's",
        "2.layers.1 (LazyLinear): it is lazy",
        "3 (Uses): its attribute held is a deque that holds a module or parameter of PyTorch's",
    ]:
        assert part in text, f"{part}\n{text}"


def test_parameters_that_share_memory_without_being_one() -> None:
    model = N.Sequential(N.Linear(2, 2), N.Linear(2, 2))
    model[1].weight.data = model[0].weight.data
    text = refusal(model)
    assert "1 (Linear): its parameter weight is in the memory of 0.weight, which a copy would not be: make them" in text
    mine = interop.from_torch(model, copy=False)
    assert mine[1].weight is not mine[0].weight
    assert mine[1].weight.data_ptr() == mine[0].weight.data_ptr()


def test_what_is_no_module() -> None:
    with pytest.raises(TypeError, match="expected one of PyTorch's modules, got function"):
        interop.from_torch(F.relu)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="expected one of PyTorch's modules, got Linear"):
        interop.from_torch(nn.Linear(2, 2))
    with pytest.raises(TypeError, match="expected one of modgrad's modules, got Linear"):
        interop.to_torch(N.Linear(2, 2))  # type: ignore[arg-type]

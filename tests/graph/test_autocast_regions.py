"""Autocast's regions: nesting, threads, what is kept in them; and what is told in what to compute."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor

from modgrad import nn
from modgrad.graph.mode import mode
from tests.graph.autocast_models import LOW, MODELS, Attention, assert_equal, gradients, twins


@pytest.mark.parametrize("name", MODELS)
def test_model_is_pytorchs(name: str) -> None:
    """The same roundings at the same places: losses are equal to the last digit, gradients to the order of a sum."""
    model, twin, x, target = twins(name)
    leaf, other = nn.Variable(x.clone()), x.clone().requires_grad_()
    with nn.autocast("cpu", LOW):
        loss = nn.CrossEntropyLoss()(model(leaf), target)
    with torch.autocast("cpu", LOW):
        its = torch.nn.CrossEntropyLoss()(twin(other), target)
    assert (loss.dtype, loss.item()) == (its.dtype, its.item())
    loss.backward()
    its.backward()
    for p, q in [(leaf, other), *zip(model.parameters(), twin.parameters(), strict=True)]:
        assert p.grad_v.dtype == q.grad.dtype == torch.float32
        torch.testing.assert_close(p.grad_v, q.grad, rtol=2**-7, atol=1e-4)
    for mine, theirs in zip(model.buffers(), twin.buffers(), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_ways_to_say_it() -> None:
    layer, x = nn.Linear(2, 3), torch.ones(4, 2)
    for region, expected in [
        (nn.autocast(LOW), LOW),
        (nn.autocast("cpu"), LOW),
        (nn.autocast("cpu", torch.float16), torch.float16),
        (nn.autocast(device_type="cpu", dtype=LOW, enabled=True, cache_enabled=False), LOW),
        (nn.autocast(dtype=torch.float16), torch.float16),
        (nn.autocast("cuda", LOW), torch.float32),
        (nn.autocast("cpu", LOW, False), torch.float32),
        (nn.autocast("cpu", torch.float32, enabled=False), torch.float32),
        (nn.autocast(enabled=False), torch.float32),
    ]:
        for _ in range(2):  # one region may be entered again
            with region:
                assert layer(x).dtype == expected
        assert layer(x).dtype == torch.float32
        assert region(layer)(x).dtype == expected

    @nn.autocast(LOW)
    def deep(n: int) -> Any:
        """Its own help."""
        return layer(x) if n == 0 else deep(n - 1)

    assert deep(3).dtype == LOW
    assert deep.__doc__ == "Its own help."
    assert mode.autocast is None
    assert mode.ordinary


def test_nesting() -> None:
    layer, x = nn.Linear(2, 2), torch.ones(4, 2)
    with nn.autocast(LOW):
        y = layer(x)
        with nn.autocast(LOW, enabled=False):
            assert layer(x).dtype == torch.float32
            with pytest.raises(TypeError, match="has parameters of"):
                layer(y)  # nothing is cast in here
            with nn.autocast("cpu", torch.float16):
                assert layer(y).dtype == torch.float16
        with nn.autocast("cuda", enabled=False):
            assert layer(x).dtype == LOW
        assert layer(x).dtype == LOW
        with pytest.raises(KeyError), nn.autocast(enabled=False):
            raise KeyError
        assert layer(x).dtype == LOW
    assert mode.autocast is None


def test_plain_tensors_are_cast_by_pytorch() -> None:
    """What PyTorch does around primitives it must not do within them, nor afterwards."""
    a, layer = torch.randn(3, 3), nn.LayerNorm(3)
    with nn.autocast("cpu", LOW):
        assert (a @ a).dtype == LOW
        loss = (layer(a) * 2).sum()
        loss.backward()
        assert (a @ a).dtype == LOW
        with nn.autocast("cpu", enabled=False):
            assert (a @ a).dtype == torch.float32
    assert (a @ a).dtype == torch.float32
    with torch.autocast("cpu", LOW):
        with nn.autocast("cpu", torch.float16):
            assert (a @ a).dtype == torch.float16
        assert (a @ a).dtype == LOW


def test_evaluation_and_frozen_parts_are_cast_alike() -> None:
    model, x = Attention(), torch.randn(2, 3, 4)
    with nn.autocast("cpu", LOW):
        expected = model(x)
        with nn.no_grad():
            evaluated = model(x)
        kept = _kept(model, x)
        frozen = model.freeze()(x)
    assert type(evaluated) is type(frozen) is Tensor
    assert expected.dtype == evaluated.dtype == frozen.dtype == LOW
    for y in (evaluated, frozen, kept.detach()):
        assert torch.equal(expected.detach(), y)


def _kept(model: nn.Module, x: Tensor) -> Any:
    with nn.keep_values():
        y = model(x)
    y.sum().backward()
    y.sum().backward()
    return y


def test_backward_inside_and_outside_is_the_same() -> None:
    model, _, x, target = twins("transformer")
    outside = gradients(model, x, target)
    model.zero_grad()
    with nn.autocast("cpu", LOW):
        nn.CrossEntropyLoss()(model(x), target).backward()
    assert_equal({name: p.grad_v for name, p in model.named_parameters()}, outside)


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.weight = nn.Parameter(torch.randn(4, 4))

    def forward(self, x: Any) -> Any:
        for _ in range(3):
            x = self.layer(x) @ self.weight
        return x


def test_weight_is_cast_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a region, and anew where it has changed; what was cast lives no longer than the region and the graph."""
    model, x = Shared(), torch.randn(2, 4)
    seen: list[Any] = []
    linear = nn.Linear.forward

    def forward(self: Any, call: Any, input: Tensor) -> Tensor:
        seen.append(weakref.ref(self.weight))
        return linear(self, call, input)

    monkeypatch.setattr(nn.Linear, "forward", forward)
    with nn.autocast("cpu", LOW):
        y = model(x)
        kept = mode.autocast.casts
        assert len(kept) == 3  # weight and bias of the layer, and the other weight
        first = seen[0]()
        assert first.dtype == LOW
        assert all(reference() is first for reference in seen)
        with nn.autocast("cpu", LOW):
            model(x)
        assert seen[-1]() is first
        with torch.no_grad():
            model.layer.weight.data.add_(1)
            model.layer.weight.add_(1)
        model(x)
        assert seen[-1]() is not first
        assert torch.equal(seen[-1](), model.layer.weight.data.to(LOW))
        with nn.autocast("cpu", LOW, cache_enabled=False):
            model(x)
            assert mode.autocast.casts is None
    del first, kept, y
    gc.collect()
    assert not [reference for reference in seen if reference() is not None]


def test_shared_weight_is_cast_once_a_step_for_all_uses() -> None:
    model, x = Shared(), torch.randn(2, 4)
    results = []
    for cached in (True, False):
        model.zero_grad()
        with nn.autocast("cpu", LOW, cache_enabled=cached):
            y = model(x)
        y.float().sum().backward()
        results.append({name: p.grad_v.clone() for name, p in model.named_parameters()})
    assert_equal(*results)


def test_threads_have_their_own() -> None:
    layer, x, region = nn.Linear(2, 2), torch.ones(1, 2), nn.autocast("cpu", LOW)
    found: dict[str, torch.dtype] = {}
    inside, outside = threading.Event(), threading.Event()

    def run() -> None:
        found["before"] = layer(x).dtype
        with region:
            inside.set()
            outside.wait(10)
            found["within"] = layer(x).dtype
        found["after"] = layer(x).dtype

    thread = threading.Thread(target=run)
    with region:
        thread.start()
        assert inside.wait(10)
        assert layer(x).dtype == LOW
    assert layer(x).dtype == torch.float32
    outside.set()
    thread.join()
    assert found == {"before": torch.float32, "within": LOW, "after": torch.float32}


# Operations told in what to compute, and what is never cast


def test_dtype_that_is_said_has_the_say() -> None:
    x = nn.Variable(torch.rand(3, 3))
    with nn.autocast("cpu", LOW):
        half = x @ x
        assert half.sum(dtype=torch.float64).dtype == torch.float64
        assert torch.prod(half, 0).dtype == torch.float32
        assert torch.prod(half, 0, dtype=LOW).dtype == LOW


def test_float64_is_never_cast() -> None:
    layer, x = nn.Linear(2, 2).double(), nn.Variable(torch.randn(3, 2, dtype=torch.float64))
    with nn.autocast("cpu", LOW):
        assert layer(x).dtype == (x @ x.T).dtype == torch.float64
        with pytest.raises(
            TypeError, match=r"has parameters of torch.bfloat16 and was given an input of torch.float64"
        ):
            nn.Linear(2, 2)(x)  # whose parameters are cast, as by PyTorch


def test_own_primitive_says_its_list() -> None:
    class Product(nn.Primitive):
        autocast = "lower"

        def forward(self, call: Any, a: Tensor, b: Tensor, times: int = 1) -> Tensor:
            call.save(a, b)
            return a * b * times

        def backward(self, call: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
            a, b = call.saved
            assert grad.dtype == a.dtype == b.dtype == expected
            return grad * b, grad * a

    class Float(Product):
        autocast = "float32"

    class Told(Product):
        def autocast(self, a: Tensor, b: Tensor, times: int = 1) -> str:
            return "float32" if a.dim() == 2 else "promote"

    for kind, shape, expected in [
        (Product, (2,), LOW),
        (Float, (2,), torch.float32),
        (Told, (2, 1), torch.float32),
        (Told, (2,), torch.float32),
    ]:
        a, b = nn.Variable(torch.randn(shape)), nn.Variable(torch.randn(shape).to(LOW))
        with nn.autocast("cpu", LOW):
            y = kind()(a, b)
        assert y.dtype == expected
        assert isinstance(y.previous_module, kind)
        y.backward(torch.ones_like(y))
        assert (a.grad_v.dtype, b.grad_v.dtype) == (torch.float32, LOW)


def test_what_is_refused() -> None:
    for arguments, error, words in [
        ((), TypeError, "it needs a dtype"),
        ((LOW, LOW), TypeError, r"write autocast\(dtype\)"),
        (("tpu",), ValueError, "expected 'cpu' or 'cuda'"),
        (("cpu", torch.float32), ValueError, "enabled=False"),
        ((torch.int8,), ValueError, "expected torch.bfloat16 or torch.float16"),
    ]:
        with pytest.raises(error, match=words):
            nn.autocast(*arguments)


# What calls a primitive, each in its own way. Every one of them would be cast behind its derivative's back.
CALLS: dict[str, Any] = {
    "layer": lambda x: nn.Linear(3, 2)(x),
    "layers": lambda x: nn.Sequential(nn.Linear(3, 3), nn.ReLU())(x),
    "loss": lambda x: nn.MSELoss()(nn.Variable(x), x),
    "operator": lambda x: nn.Variable(x) @ x,
    "recomputed": lambda x: nn.recompute(nn.Sequential(nn.Linear(3, 3), nn.ReLU()))(x),
    "in evaluation": nn.no_grad()(lambda x: nn.Linear(3, 2)(x)),
    "keeping values": nn.keep_values()(lambda x: nn.Linear(3, 2)(x)),
}


@pytest.mark.parametrize("name", CALLS)
def test_pytorchs_own_region_is_refused(name: str) -> None:
    call, x = CALLS[name], torch.randn(3, 3)
    with torch.autocast("cpu", LOW):
        with pytest.raises(RuntimeError, match=r"inside torch.autocast, .* Write nn.autocast\(\.\.\.\) in its place"):
            call(x)
        with nn.autocast("cpu", LOW):
            call(x)
        with torch.autocast("cpu", enabled=False):
            call(x)
        with nn.autocast(enabled=False):
            assert call(x).dtype == torch.float32
    call(x)


def test_backward_inside_of_pytorchs_own_region() -> None:
    """Which many write around all of a step: the gradients are those of outside."""
    model, x = Attention(), torch.randn(2, 3, 4)
    found: list[Any] = []
    for region in (torch.autocast("cpu", enabled=False), torch.autocast("cpu", LOW)):
        model.zero_grad()
        loss = model(x).square().sum()
        with region:
            loss.backward()
        found.append([p.grad_v for p in model.parameters()])
    for outside, inside in zip(*found, strict=True):
        assert torch.equal(outside, inside)


def test_both_methods_of_a_primitive_get_the_same_gradient() -> None:
    """By which they know that the other has done the work."""
    seen: list[Any] = []

    class Scaled(nn.Primitive):
        autocast = "lower"

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.tensor([2.0]))

        def forward(self, call: Any, x: Tensor) -> Tensor:
            call.save(x, self.weight)
            return x * self.weight

        def backward(self, call: Any, grad: Tensor) -> Tensor:
            seen.append(grad)
            return grad * call.saved[1]

        def parameter_gradients(self, call: Any, grad: Tensor) -> dict[str, Tensor | None]:
            seen.append(grad)
            return {"weight": (grad * call.saved[0]).sum(0, keepdim=True)}

    layer, x = Scaled(), nn.Variable(torch.randn(3))
    with nn.autocast("cpu", LOW):
        y = layer(x)
    assert y.dtype == LOW
    y.backward(torch.ones_like(y))
    assert seen[0] is seen[1]
    assert seen[0].dtype == LOW
    assert x.grad_v.dtype == layer.weight.grad_v.dtype == torch.float32


def test_wrong_gradient_is_still_found() -> None:
    class Wrong(nn.Primitive):
        autocast = "lower"

        def forward(self, call: Any, x: Tensor) -> Tensor:
            return x * 2

        def backward(self, call: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
            return grad * 2, grad

    x = nn.Variable(torch.ones(2))
    with nn.autocast("cpu", LOW):
        y = Wrong()(x)
    with pytest.raises(ValueError, match="gave 2 gradients for 1 inputs"):
        y.backward(torch.ones_like(y))

"""What is changed in a traced program before it is compiled: it computes the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx

from modgrad import functional as F
from modgrad.step import convolutions, products, scalars

aten = torch.ops.aten


def traced(function: Callable[..., Any], *inputs: Tensor) -> GraphModule:
    return make_fx(function, tracing_mode="fake")(*inputs)


def targets(module: GraphModule) -> list[Any]:
    return [node.target for node in module.graph.nodes if node.op == "call_function"]


def linear(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    return aten.linear(x, w, b)


PRODUCTS: list[tuple[str, Callable[..., Tensor], list[tuple[int, ...]]]] = [
    ("linear", linear, [(5, 7), (6, 7), (6,)]),
    ("linear of a stack", linear, [(2, 3, 7), (6, 7), (6,)]),
    ("linear without bias", lambda x, w: aten.linear(x, w), [(5, 7), (6, 7)]),
    ("linear to few columns", linear, [(5, 7), (3, 7), (3,)]),
    ("linear to few columns, no bias", lambda x, w: aten.linear(x, w), [(5, 7), (3, 7)]),
    ("mm", lambda x, w: aten.mm(x, w), [(5, 7), (7, 6)]),
    ("addmm of a row", lambda b, x, w: aten.addmm(b, x, w), [(6,), (5, 7), (7, 6)]),
    ("addmm of a matrix", lambda b, x, w: aten.addmm(b, x, w), [(5, 6), (5, 7), (7, 6)]),
    ("addmm with a factor", lambda b, x, w: aten.addmm(b, x, w, alpha=2.0), [(6,), (5, 7), (7, 6)]),
    ("of a transposed matrix", lambda x, w: aten.mm(x, w.t()), [(5, 7), (6, 7)]),
]


@pytest.mark.parametrize("onednn", [False, True], ids=["MKL", "oneDNN"])
@pytest.mark.parametrize(("function", "shapes"), [row[1:] for row in PRODUCTS], ids=[row[0] for row in PRODUCTS])
def test_products_are_the_same(
    function: Callable[..., Tensor], shapes: list[tuple[int, ...]], onednn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if onednn and not torch.backends.mkldnn.is_available():
        pytest.skip("PyTorch was built without oneDNN")
    monkeypatch.setattr(products, "prefers_onednn", lambda: onednn)
    monkeypatch.setattr(products, "worth", lambda *sizes: True)
    inputs = [torch.randn(shape) for shape in shapes]
    module = traced(function, *inputs)
    has_factor = any(node.kwargs for node in module.graph.nodes if node.target is aten.addmm.default)
    products.chosen(module)
    torch.testing.assert_close(module(*inputs), function(*inputs), rtol=1e-5, atol=1e-5)
    others = {aten.linear.default, aten.mm.default, aten.addmm.default} & set(targets(module))
    if onednn and not has_factor:
        assert torch.ops.mkldnn._linear_pointwise.default in targets(module)
        assert not others
    else:
        assert torch.ops.mkldnn._linear_pointwise.default not in targets(module)


def test_other_dtypes_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "prefers_onednn", lambda: True)
    monkeypatch.setattr(products, "worth", lambda *sizes: True)
    for dtype in (torch.float64, torch.bfloat16):
        inputs = [torch.randn(shape, dtype=dtype) for shape in ((5, 7), (7, 6))]
        module = traced(lambda x, w: aten.mm(x, w), *inputs)
        products.chosen(module)
        assert aten.mm.default in targets(module)
        assert torch.equal(module(*inputs), torch.mm(*inputs))


def test_a_bias_is_left_to_the_loop_that_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not as an addition, which the compiler would put back into the product."""
    monkeypatch.setattr(products, "prefers_onednn", lambda: False)
    module = traced(linear, torch.randn(5, 7), torch.randn(6, 7), torch.randn(6))
    products.chosen(module)
    assert aten.sub.Tensor in targets(module)
    assert not {aten.add.Tensor, aten.addmm.default, aten.linear.default} & set(targets(module))


def test_numbers_are_computed_apart_from_the_loops() -> None:
    def update(p: Tensor, beta: Tensor, step: Tensor) -> Tensor:
        correction = 1 - beta**step
        return p / correction + p * correction

    inputs = torch.randn(4, 5), torch.tensor(0.9), torch.tensor(3.0)
    module = traced(update, *inputs)
    scalars.apart(module)
    assert torch.equal(module(*inputs), update(*inputs))
    barriers = [node for node in module.graph.nodes if node.target is aten.amax.default]
    assert len(barriers) == 1
    assert len(barriers[0].users) == 2, "both loops take the number that was computed once"


def test_what_is_cheap_or_not_a_number_is_left() -> None:
    def update(p: Tensor, lr: Tensor) -> tuple[Tensor, Tensor]:
        return p * (lr * 2), p**2

    inputs = torch.randn(4, 5), torch.tensor(0.1)
    module = traced(update, *inputs)
    before = targets(module)
    scalars.apart(module)
    assert targets(module) == before


def gradients(x: Tensor, w: Tensor, y: Tensor, transposed: bool = False) -> tuple[Tensor, Tensor]:
    options = [2, 1], [1, 0], [1, 1], 2
    if transposed:
        options = *options[:3], 2, [0, 0]
        first = F.transposed_convolution_grad_input(y, x.shape, w, *options)
        return first, F.transposed_convolution_grad_weight(y, x, w.shape, *options)
    return F.convolution_grad_input(y, x.shape, w, *options), F.convolution_grad_weight(y, x, w.shape, *options)


@pytest.mark.parametrize("transposed", [False, True], ids=["convolution", "transposed"])
@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last])
def test_a_convolutions_gradients_are_of_one_call(form: torch.memory_format, transposed: bool) -> None:
    x, y = torch.randn(3, 4, 7, 5).to(memory_format=form), torch.randn(3, 6, 4, 3).to(memory_format=form)
    if transposed:
        x, y = y, x
    inputs = x, torch.randn((6, 2, 3, 3)).to(memory_format=form), y
    module = traced(lambda *inputs: gradients(*inputs, transposed), *inputs)
    assert targets(module).count(aten.convolution_backward.default) == 2
    convolutions.joined(module)
    assert targets(module).count(aten.convolution_backward.default) == 1
    assert aten.empty.memory_format not in targets(module), "no stand-in is left"
    for got, wanted in zip(module(*inputs), gradients(*inputs, transposed), strict=True):
        torch.testing.assert_close(got, wanted)
        assert got.stride() == wanted.stride()


def test_gradients_of_different_convolutions_stay_apart() -> None:
    """One of dL/dy is another, or its input is made in between, as it is where a block is recomputed."""

    def others(x: Tensor, w: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return gradients(x, w, y)[0], gradients(x, w, y + 1)[1]

    def recomputed(x: Tensor, w: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return gradients(x, w, y)[0], gradients(x.relu(), w, y)[1]

    inputs = torch.randn(3, 4, 7, 5), torch.randn(6, 2, 3, 3), torch.randn(3, 6, 4, 3)
    for function in (others, recomputed):
        module = traced(function, *inputs)
        convolutions.joined(module)
        assert targets(module).count(aten.convolution_backward.default) == 2
        for got, wanted in zip(module(*inputs), function(*inputs), strict=True):
            torch.testing.assert_close(got, wanted)

"""PyTorch's functions of normalization and pooling on Variables, with weights of every kind."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from modgrad import nn
from modgrad.graph.tracing import Tracing

ALIKE = {"rtol": 1e-12, "atol": 1e-13}


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64)


def _both(use: Callable[..., Any], *inputs: Tensor, kinds: tuple[Any, ...] = ()) -> None:
    """Values, and gradients of all inputs, which are of these kinds (Variables if not said)."""
    mine = [(kinds[i] if i < len(kinds) else nn.Variable)(x.clone()) for i, x in enumerate(inputs)]
    theirs = [x.clone().requires_grad_() for x in inputs]
    torch.manual_seed(1)
    y = use(*mine)
    torch.manual_seed(1)
    twin = use(*theirs)
    upstream = torch.randn_like(twin)
    y.backward(upstream)
    twin.backward(upstream)
    torch.testing.assert_close(y.detach(), twin.detach(), **ALIKE)
    for x, x_twin in zip(mine, theirs, strict=True):
        if type(x) is not Tensor:
            torch.testing.assert_close(x.grad_v, x_twin.grad, **ALIKE)


STATISTICS = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
WITH_WEIGHTS: dict[str, tuple[Callable[..., Any], tuple[int, ...], tuple[int, ...]]] = {
    "batch_norm": (lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True), (4, 3, 2), (3,)),
    "batch_norm in evaluation": (lambda x, w, b: F.batch_norm(x, STATISTICS, STATISTICS, w, b), (4, 3), (3,)),
    "instance_norm": (lambda x, w, b: F.instance_norm(x, weight=w, bias=b, eps=0.1), (2, 3, 4, 2), (3,)),
    "group_norm": (lambda x, w, b: F.group_norm(x, 3, w, b), (2, 6, 4), (6,)),
    "layer_norm": (lambda x, w, b: F.layer_norm(x, [3, 4], w, b, 0.1), (2, 3, 4), (3, 4)),
    "rms_norm": (lambda x, w, b: F.rms_norm(x, [3, 4], w) + b, (2, 3, 4), (3, 4)),
    "torch.rms_norm": (lambda x, w, b: torch.rms_norm(x, [4], w, 0.1) * b, (2, 3, 4), (4,)),
}
KINDS = {"Variables": nn.Variable, "Parameters": nn.Parameter, "plain tensors": lambda x: x}


@pytest.mark.parametrize("name", WITH_WEIGHTS)
@pytest.mark.parametrize(
    ("weight", "bias"),
    [
        pytest.param(weight, bias, marks=[pytest.mark.thorough] * (i not in (j, (j + 1) % 3)))
        for i, weight in enumerate(KINDS)
        for j, bias in enumerate(KINDS)
    ],
)
def test_weights_of_every_kind(name: str, weight: str, bias: str) -> None:
    use, shape, of_weight = WITH_WEIGHTS[name]
    _both(use, normal(*shape), normal(*of_weight), normal(*of_weight), kinds=(nn.Variable, KINDS[weight], KINDS[bias]))


@pytest.mark.parametrize("name", list(WITH_WEIGHTS)[:-2])
@pytest.mark.parametrize("kind", [nn.Variable, nn.Parameter])
def test_weights_of_more_digits(name: str, kind: Any) -> None:
    """What comes out has the input's dtype, by itself and under autocast."""
    if name == "batch_norm in evaluation":  # its statistics are of float64
        return
    use, shape, of_weight = WITH_WEIGHTS[name]
    x, weight, bias = normal(*shape).bfloat16(), normal(*of_weight).float(), normal(*of_weight).float()
    cast = torch.autocast("cpu", torch.bfloat16)
    for own, its in ((contextlib.nullcontext(),) * 2, (nn.autocast("cpu", torch.bfloat16), cast)):
        mine = kind(weight), kind(bias)
        with own:
            y = use(nn.Variable(x), *mine)
        with its:
            twin = use(x, weight, bias)
        assert y.dtype == twin.dtype == torch.bfloat16
        torch.testing.assert_close(y.detach(), twin, rtol=2**-6, atol=2**-6)
        y.sum().backward()
        assert {p.grad_v.dtype for p in mine} == {torch.float32}


@pytest.mark.parametrize("name", list(WITH_WEIGHTS)[:-2])
@pytest.mark.parametrize("kind", [nn.Variable, nn.Parameter])
def test_a_weight_or_a_bias_alone(name: str, kind: Any) -> None:
    use, shape, of_weight = WITH_WEIGHTS[name]
    _both(lambda x, w: use(x, w, None), normal(*shape), normal(*of_weight), kinds=(nn.Variable, kind))
    if name == "group_norm":  # where PyTorch's own fails with a bias alone
        y = use(nn.Variable(normal(*shape)), None, bias := kind(normal(*of_weight)))
        y.backward(upstream := torch.randn_like(y.detach()))
        torch.testing.assert_close(bias.grad_v, upstream.sum((0, 2)), **ALIKE)
        return
    _both(lambda x, b: use(x, None, b), normal(*shape), normal(*of_weight), kinds=(nn.Variable, kind))


@pytest.mark.parametrize("name", WITH_WEIGHTS)
def test_weights_of_plain_inputs(name: str) -> None:
    use, shape, of_weight = WITH_WEIGHTS[name]
    kinds = (lambda x: x, nn.Parameter, nn.Parameter)
    _both(use, normal(*shape), normal(*of_weight), normal(*of_weight), kinds=kinds)


def test_weights_while_tracing() -> None:
    use, shape, of_weight = WITH_WEIGHTS["batch_norm"]
    x, w, b = normal(*shape), normal(*of_weight), normal(*of_weight)
    with Tracing():
        weight, bias = nn.Parameter(w), nn.Parameter(b)
        use(nn.Variable(x), weight, bias).sum().backward()
        assert weight.grad_v is not None
        torch.testing.assert_close(bias.grad_v, torch.full((3,), 8.0, dtype=torch.float64))


@pytest.mark.parametrize("norm", [F.batch_norm, F.instance_norm])
def test_running_statistics_move_in_place(norm: Any) -> None:
    x, pairs = normal(3, 2, 4), [(torch.zeros(2).double(), torch.ones(2).double()) for _ in range(2)]
    use = {"training": True} if norm is F.batch_norm else {"use_input_stats": True}
    norm(nn.Variable(x), *pairs[0], momentum=0.3, **use)
    norm(x, *pairs[1], momentum=0.3, **use)
    for mine, theirs in zip(*pairs, strict=True):
        torch.testing.assert_close(mine, theirs, **ALIKE)
        assert mine.any()
    with pytest.raises(RuntimeError, match="expected running_mean and running_var"):
        norm(nn.Variable(x), None, None, **dict.fromkeys(use, False))


IMAGES = (2, 3, 6, 8)


def _of_two(x: Any, pool: Any, unpool: Any, *sizes: Any, **named: Any) -> Any:
    output, indices = pool(x, 2, return_indices=True)
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(False)  # PyTorch's would not run, even where places differ
    try:
        return unpool(output * 2, indices, *sizes, **named)
    finally:
        torch.use_deterministic_algorithms(before)


@pytest.mark.parametrize(
    ("use", "shape"),
    [
        (lambda x: F.local_response_norm(x, 2, 0.1, 0.5, 2.0), IMAGES),
        (lambda x: F.normalize(x, dim=(1, 2)) + F.normalize(x, 3, 0, eps=1.0), (2, 3, 4)),
        (lambda x: F.max_pool1d(x, 2, 1, padding=1), (2, 3, 8)),
        (lambda x: F.max_pool2d(x, (2, 3), ceil_mode=True), IMAGES),
        (lambda x: F.max_pool2d_with_indices(x, 2)[0], IMAGES),
        (lambda x: torch.max_pool2d(x, 2, [], 0, 1, True), IMAGES),
        (lambda x: F.max_pool3d(x, 2, return_indices=True)[0], (2, 3, 4, 4, 5)),
        (lambda x: _of_two(x, F.max_pool1d, F.max_unpool1d, 2), (2, 3, 8)),
        (lambda x: _of_two(x, F.max_pool2d, F.max_unpool2d, 2, output_size=(7, 9)), IMAGES),
        (lambda x: _of_two(x, F.max_pool2d, F.max_unpool2d, 2, output_size=(2, 3, 7, 8)), IMAGES),
        (lambda x: _of_two(x, F.max_pool3d, F.max_unpool3d, 2, None, 0), (2, 3, 4, 4, 4)),
        (lambda x: F.avg_pool1d(x, 3, 2, 1, True, False), (2, 3, 8)),
        (lambda x: torch.avg_pool1d(x, 2), (2, 3, 8)),
        (lambda x: F.avg_pool2d(x, 2, 1, 1, divisor_override=3), IMAGES),
        (lambda x: F.avg_pool3d(x, 2, count_include_pad=False), (2, 3, 4, 4, 5)),
        (lambda x: F.adaptive_avg_pool1d(x, 3), (2, 3, 8)),
        (lambda x: F.adaptive_avg_pool2d(x, (None, 3)), IMAGES),
        (lambda x: F.adaptive_avg_pool3d(x, 2), (2, 3, 4, 4, 5)),
        (lambda x: F.adaptive_max_pool1d(x, 3) + torch.adaptive_max_pool1d(x, 3)[0], (2, 3, 8)),
        (lambda x: F.adaptive_max_pool2d(x, (3, None), return_indices=True)[0], IMAGES),
        (lambda x: F.adaptive_max_pool3d(x, 2), (2, 3, 4, 4, 5)),
        (lambda x: F.lp_pool1d(x, 2, 3), (2, 3, 8)),
        (lambda x: F.lp_pool2d(x, 2.0, (2, 3), stride=1) + F.lp_pool2d(x, float("inf"), (2, 3), 1), IMAGES),
        (lambda x: F.lp_pool3d(x, 4, 2, ceil_mode=True), (2, 3, 4, 4, 5)),
        (lambda x: F.fractional_max_pool2d(x, 2, output_size=(3, 4)), IMAGES),
        (lambda x: F.fractional_max_pool3d(x, 2, output_ratio=0.5, return_indices=True)[0], (2, 3, 5, 5, 6)),
    ],
)
def test_same_as_on_tensors(use: Callable[[Any], Any], shape: tuple[int, ...]) -> None:
    _both(use, normal(*shape))

"""Normalization layers: what the table of cases does not show."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor

from modgrad import nn
from modgrad.nn.operators.normalization import normalize


def _pair(make: Any, dtype: torch.dtype = torch.float64) -> tuple[Any, Any]:
    mine, twin = make(nn).to(dtype), make(torch.nn).to(dtype)
    for value in twin.state_dict().values():
        if value.is_floating_point():
            value.copy_(torch.rand_like(value) + 0.5)
    mine.load_state_dict(twin.state_dict())
    return mine, twin


def _gradients(module: Any, x: Tensor, upstream: Tensor) -> list[Tensor]:
    """The output, the input's gradient and the parameters'."""
    leaf = x.clone().requires_grad_() if isinstance(module, torch.nn.Module) else nn.Variable(x.clone())
    y = module(leaf)
    y.backward(upstream)
    return [y.detach(), leaf.grad, *(p.grad for p in module.parameters())]


@pytest.mark.parametrize(
    "make",
    [
        lambda n: n.BatchNorm1d(3),
        lambda n: n.BatchNorm3d(3, 1e-3, None, False),
        lambda n: n.SyncBatchNorm(3, track_running_stats=False),
        lambda n: n.InstanceNorm1d(3),
        lambda n: n.InstanceNorm2d(3, affine=True, track_running_stats=True),
        lambda n: n.GroupNorm(2, 4),
        lambda n: n.GroupNorm(2, 4, 0.1, False),
        lambda n: n.RMSNorm(4),
        lambda n: n.RMSNorm([2, 3], 1e-3, False),
        lambda n: n.LocalResponseNorm(3, 0.1, k=2.0),
    ],
)
def test_repr_and_state_are_pytorchs(make: Any) -> None:
    mine, twin = make(nn), make(torch.nn)
    assert repr(mine) == repr(twin)
    assert list(mine.state_dict()) == list(twin.state_dict())
    for name, value in twin.state_dict().items():
        torch.testing.assert_close(mine.state_dict()[name], value)


LOW = [
    (lambda n: n.BatchNorm2d(3), (20, 3, 4, 4)),
    (lambda n: n.BatchNorm2d(3).eval(), (20, 3, 4, 4)),
    (lambda n: n.InstanceNorm2d(3, affine=True, track_running_stats=True), (20, 3, 4, 4)),
    (lambda n: n.InstanceNorm2d(3, affine=True, track_running_stats=True).eval(), (20, 3, 4, 4)),
    (lambda n: n.GroupNorm(3, 6), (20, 6, 4)),
    (lambda n: n.RMSNorm(64), (50, 64)),
    (lambda n: n.LocalResponseNorm(3, 0.5), (20, 6, 7)),
]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("make", "shape"), LOW)
def test_low_precision_is_as_near_to_the_truth_as_pytorchs(make: Any, shape: Any, dtype: torch.dtype) -> None:
    """PyTorch may round at other places, so the two differ; the error beside float64 must be no larger by half."""
    mine, twin = _pair(make, dtype)
    exact, _ = _pair(make)
    exact.load_state_dict(twin.state_dict())
    x, upstream = (torch.randn(shape).to(dtype) for _ in range(2))
    truth = _gradients(exact, x.double(), upstream.double())
    for got, theirs, true in zip(_gradients(mine, x, upstream), _gradients(twin, x, upstream), truth, strict=True):
        assert got.dtype == theirs.dtype
        assert (got.double() - true).norm() <= 1.5 * (theirs.double() - true).norm() + 1e-3 * true.norm()


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda n: n.BatchNorm1d(3), (5, 3, 4)),
        (lambda n: n.GroupNorm(3, 6), (5, 6, 4)),
        (lambda n: n.LayerNorm(6), (5, 6)),
        (lambda n: n.RMSNorm(6), (5, 6)),
    ],
)
def test_parameters_may_be_of_higher_precision_than_the_input(make: Any, shape: Any) -> None:
    mine, twin = _pair(make, torch.float32)
    x, upstream = (torch.randn(shape).bfloat16() for _ in range(2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PyTorch's RMSNorm, once, that it then has no fast kernel
        theirs = _gradients(twin, x, upstream)
    for got, expected in zip(_gradients(mine, x, upstream), theirs, strict=True):
        assert got.dtype == expected.dtype
        torch.testing.assert_close(got, expected, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: nn.BatchNorm1d(4), (3, 4, 2)),
        (lambda: nn.InstanceNorm1d(4, affine=True), (3, 4, 2)),
        (lambda: nn.GroupNorm(2, 4), (3, 4, 2)),
        (lambda: nn.RMSNorm(4), (3, 4)),
        (lambda: nn.BatchNorm1d(4).eval(), (3, 4, 2)),
    ],
)
def test_no_more_is_kept_than_is_wanted(make: Any, shape: Any) -> None:
    layer, x = make(), torch.randn(shape)
    full = layer(nn.Variable(x))._source[0].saved
    assert full[0] is not None
    layer.freeze()
    held = layer(nn.Variable(x))._source[0].saved
    if isinstance(layer, nn.BatchNorm1d) and not layer.training:
        assert held[:2] == (None, None), "by given statistics the input's gradient needs no input"
    assert all(g is None for g in layer._gradients(layer(nn.Variable(x))._source[0], torch.ones(shape))[1:])
    if getattr(layer, "bias", None) is not None:
        layer.bias.grad_f = True
        y = layer(x)
        assert y._source[0].saved == ()
        y.backward(torch.ones(shape))
        torch.testing.assert_close(layer.bias.grad_v, torch.full((4,), float(x.numel() // 4)))


def test_an_empty_batch_moves_no_statistics_but_counts() -> None:
    mine, twin = _pair(lambda n: n.BatchNorm2d(3))
    x = torch.zeros(0, 3, 2, 2, dtype=torch.float64)
    for got, expected in zip(_gradients(mine, x, x), _gradients(twin, x, x), strict=True):
        assert torch.equal(got, expected)
    for name, value in twin.state_dict().items():
        assert torch.equal(mine.state_dict()[name], value)
    layer = nn.InstanceNorm1d(3, affine=True, track_running_stats=True)  # PyTorch's fails
    layer(nn.Variable(torch.zeros(0, 3, 2))).sum().backward()
    assert layer.running_mean.tolist() == layer.weight.grad_v.tolist() == [0.0] * 3


@pytest.mark.parametrize("momentum", [0.3, None])
def test_running_statistics_of_instances(momentum: float | None) -> None:
    mine, twin = _pair(lambda n: n.InstanceNorm2d(3, momentum=momentum, track_running_stats=True))
    for shape in [(4, 3, 2, 5), (3, 2, 5)]:
        x = torch.randn(shape, dtype=torch.float64) * 3 + 1
        mine(x)
        twin(x)
    for name, value in twin.state_dict().items():
        torch.testing.assert_close(mine.state_dict()[name], value)


def test_instances_of_another_number_of_channels() -> None:
    x = torch.randn(2, 5, 4)
    with pytest.warns(UserWarning, match="num_features is not used"):
        y = nn.InstanceNorm1d(3)(x)
    with pytest.warns(UserWarning, match="num_features"):
        torch.testing.assert_close(y, torch.nn.InstanceNorm1d(3)(x))
    with pytest.raises(ValueError, match=r"shape \(2, 5, 4\): expected \(3, L\) or \(N, 3, L\)"):
        nn.InstanceNorm1d(3, affine=True)(x)


@pytest.mark.parametrize(
    ("make", "shape", "message"),
    [
        (lambda: nn.BatchNorm1d(3), (2, 3, 4, 4), r"BatchNorm1d\(3.*expected \(N, 3\) or \(N, 3, L\)"),
        (lambda: nn.BatchNorm1d(3), (1, 3), "more than one value for each channel"),
        (lambda: nn.BatchNorm1d(3, track_running_stats=False).eval(), (1, 3, 1), "more than one value for each"),
        (lambda: nn.BatchNorm1d(3, eps=0.0), (2, 3), "eps must be positive"),
        (lambda: nn.BatchNorm3d(3), (2, 3, 4, 4), r"expected \(N, 3, D, H, W\)"),
        (lambda: nn.SyncBatchNorm(3), (3,), r"expected \(N, 3, ...\)"),
        (lambda: nn.InstanceNorm1d(3), (2, 3, 1), "more than one value for each channel of a sample"),
        (lambda: nn.InstanceNorm2d(3), (2, 3), r"expected \(3, H, W\) or \(N, 3, H, W\)"),
        (lambda: nn.GroupNorm(2, 4), (4,), r"expected \(N, 4, ...\)"),
        (lambda: nn.GroupNorm(4, 4), (1, 4), "more than one value for each group"),
        (lambda: nn.RMSNorm((3, 4)), (4,), r"its last dimensions must be \(3, 4\)"),
        (lambda: nn.LocalResponseNorm(2), (3, 4), "three dimensions or more"),
    ],
)
def test_a_wrong_input(make: Any, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()(nn.Variable(torch.ones(shape)))


@pytest.mark.parametrize(
    "make", [lambda: nn.BatchNorm1d(3), lambda: nn.BatchNorm1d(3).eval(), lambda: nn.GroupNorm(1, 3)]
)
def test_a_wrong_dtype(make: Any) -> None:
    with pytest.raises(TypeError, match=r"parameters of torch.float32.*write input.to\(torch.float32\)"):
        make()(nn.Variable(torch.ones(2, 3, 2, dtype=torch.float64)))


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="must be divisible by num_groups"):
        nn.GroupNorm(2, 3)
    with pytest.raises(ValueError, match="at least 1"):
        nn.LocalResponseNorm(0)
    with pytest.raises(NotImplementedError, match=r"Write LocalResponseNorm\(5, 0.0001, 0.75, 1\)"):
        nn.CrossMapLRN2d(5)


def test_pytorchs_cross_map_normalization_is_not_what_it_says() -> None:
    """Why it is refused; if this fails, PyTorch has mended it."""
    x = torch.randn(1, 6, 2, 2, dtype=torch.float64, requires_grad=True)
    theirs = torch.nn.CrossMapLRN2d(3, 1.0)
    assert not torch.autograd.gradcheck(theirs, x, raise_exception=False)
    assert not torch.allclose(theirs(x), torch.nn.LocalResponseNorm(3, 1.0)(x))


def test_batch_norms_become_synchronized() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.BatchNorm1d(4, momentum=0.3, bias=False)), nn.ReLU())
    before = model.state_dict()
    converted: Any = nn.SyncBatchNorm.convert_sync_batchnorm(model.eval())
    norm = converted[1][0]
    assert type(norm) is nn.SyncBatchNorm
    assert (norm.momentum, norm.bias, norm.training) == (0.3, None, False)
    for name, value in converted.state_dict().items():
        assert value.data_ptr() == before[name].data_ptr()
    assert type(nn.SyncBatchNorm.convert_sync_batchnorm(nn.BatchNorm3d(2))) is nn.SyncBatchNorm


def test_synchronized_training_in_several_processes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda group: 2)
    with pytest.raises(NotImplementedError, match="not joined here"):
        nn.SyncBatchNorm(3)(torch.randn(4, 3))
    nn.SyncBatchNorm(3).eval()(torch.randn(4, 3))


@pytest.mark.parametrize("p", [2.0, 1.0, 3.0, 0.5, 0.0, float("inf")])
def test_unit_length_where_nothing_is(p: float) -> None:
    """Rows of zeros, of a zero among others, of ties: what PyTorch takes for the slope there."""
    x = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, -2.0], [2.0, -2.0, 1.0]], dtype=torch.float64)
    mine, theirs, upstream = nn.Variable(x.clone()), x.clone().requires_grad_(), torch.randn_like(x)
    for eps in (1e-12, 1.5):
        mine.grad_v = theirs.grad = None
        normalize(mine, p, 1, eps).backward(upstream)
        torch.nn.functional.normalize(theirs, p, 1, eps).backward(upstream)
        torch.testing.assert_close(mine.grad_v, theirs.grad, rtol=1e-12, atol=1e-13)

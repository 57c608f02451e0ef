"""PyTorch's functions of layers on Variables: values and gradients are those they have on PyTorch's tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from modgrad import nn

TARGET = torch.tensor([0, 2, 1])
SIGN = torch.tensor([1, -1, 1])
SPREAD = torch.tensor([[0.2, 0.3, 0.5]] * 3, dtype=torch.float64)


def _seeded(use: Callable[[], Any]) -> Any:
    torch.manual_seed(3)
    return use()


@pytest.mark.parametrize(
    ("use", "shape"),
    [
        (lambda x: F.relu(x), (3, 3)),
        (lambda x: F.tanh(x) + F.sigmoid(x), (3, 3)),
        (lambda x: F.softmax(x, dim=1), (3, 3)),
        (lambda x: F.log_softmax(x, 0, dtype=torch.float64), (3, 3)),
        (lambda x: F.linear(x, x * 2, x[0]), (3, 3)),
        (lambda x: F.scaled_dot_product_attention(x, x * 2, x.exp(), is_causal=True, scale=0.5), (3, 3)),
        (lambda x: F.gelu(x) + F.gelu(x, approximate="tanh"), (3, 3)),
        (lambda x: F.layer_norm(x, (3,)), (2, 3)),
        (lambda x: F.layer_norm(x, [2, 3], x[0] * 2, x[1], 0.1), (2, 2, 3)),
        (lambda x: _seeded(lambda: F.dropout(x)), (3, 3)),
        (lambda x: F.dropout(x, 0.9, training=False), (3, 3)),
        (lambda x: F.max_pool2d(x, 2), (1, 2, 4, 4)),
        (lambda x: F.max_pool2d(x, 2, return_indices=True)[0], (1, 2, 4, 4)),
        (lambda x: F.adaptive_avg_pool2d(x, 1), (1, 2, 4, 4)),
        (lambda x: F.mse_loss(x, SPREAD), (3, 3)),
        (lambda x: F.mse_loss(x, SPREAD, weight=SPREAD) + F.mse_loss(x, SPREAD, reduction="sum", weight=x), (3, 3)),
        (lambda x: F.l1_loss(x, SPREAD, reduction="sum"), (3, 3)),
        (lambda x: F.smooth_l1_loss(x, SPREAD, reduction="none", beta=0.2), (3, 3)),
        (lambda x: F.huber_loss(x, SPREAD, "sum", 0.2), (3, 3)),
        (lambda x: F.huber_loss(x, SPREAD, weight=SPREAD) + F.huber_loss(x, SPREAD, "none", weight=x), (3, 3)),
        (lambda x: F.binary_cross_entropy(x.sigmoid(), SPREAD, SPREAD[0], reduction="sum"), (3, 3)),
        (lambda x: F.binary_cross_entropy_with_logits(x, SPREAD, SPREAD[:1], pos_weight=SPREAD[0]), (3, 3)),
        (lambda x: F.kl_div(x, SPREAD, reduction="batchmean"), (3, 3)),
        (lambda x: F.kl_div(SPREAD.log(), x, reduction="sum", log_target=True), (3, 3)),
        (lambda x: F.poisson_nll_loss(x.exp(), TARGET.double(), False, True, eps=0.1, reduction="sum"), (3, 3)),
        (lambda x: F.gaussian_nll_loss(x, x * 2, x.exp(), True, 0.1, "sum"), (3, 3)),
        (lambda x: F.gaussian_nll_loss(x, SPREAD, 2.0), (3, 3)),
        (lambda x: F.hinge_embedding_loss(x, SIGN, 0.5, reduction="none"), (3, 3)),
        (lambda x: F.margin_ranking_loss(x, SPREAD, x[:1], 0.5), (3, 3)),
        (lambda x: F.soft_margin_loss(x, SIGN, reduction="sum"), (3, 3)),
        (lambda x: F.multilabel_soft_margin_loss(x, SPREAD, SPREAD[0]), (3, 3)),
        (lambda x: F.multilabel_soft_margin_loss(x, SPREAD, x[0], reduction="none"), (3, 3)),
        (lambda x: F.multilabel_soft_margin_loss(x, SPREAD, x[0]), (3, 3)),
        (lambda x: F.multi_margin_loss(x, TARGET, 2, 0.5, SPREAD[0], reduction="sum"), (3, 3)),
        (lambda x: F.multilabel_margin_loss(x, TARGET.expand(3, 3), reduction="sum"), (3, 3)),
        (lambda x: F.cosine_embedding_loss(x, SPREAD, SIGN, 0.1, reduction="none"), (3, 3)),
        (lambda x: F.triplet_margin_loss(x, SPREAD, x * 2, 2.0, 1, 0.1, True, reduction="sum"), (3, 3)),
        (lambda x: F.triplet_margin_with_distance_loss(x, SPREAD, x * 2, swap=True, reduction="none"), (3, 3)),
        (
            lambda x: F.triplet_margin_with_distance_loss(
                x, SPREAD, x * 2, distance_function=lambda a, b: (a - b).abs().sum(-1), margin=3.0
            ),
            (3, 3),
        ),
        (lambda x: F.pairwise_distance(x, SPREAD, 3, 0.1, True), (3, 3)),
        (lambda x: F.cosine_similarity(x, SPREAD, -1, 0.1), (3, 3)),
        (lambda x: F.bilinear(x, x * 2, torch.stack([x, x * 2]), x[0, :2]), (3, 3)),
        (lambda x: F.bilinear(x, SPREAD, torch.stack([x, SPREAD])), (3, 3)),
        (lambda x: F.cross_entropy(x, TARGET, reduction="sum", label_smoothing=0.1), (3, 3)),
        (lambda x: F.cross_entropy(x, SPREAD), (3, 3)),
    ],
)
def test_same_as_on_tensors(use: Callable[[Any], Any], shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, dtype=torch.float64)
    mine, theirs = nn.Variable(x.clone()), x.clone().requires_grad_()
    y, twin = use(mine), use(theirs)
    upstream = torch.randn_like(twin)
    y.backward(upstream)
    twin.backward(upstream)
    torch.testing.assert_close(y.detach(), twin.detach(), rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(mine.grad_v, theirs.grad, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_l1_loss_has_its_weight(reduction: str) -> None:
    """F.l1_loss of PyTorch 2.13 does not hand its weight on to who takes its place."""
    x, weight = torch.randn(3, 3, dtype=torch.float64), torch.rand(3, 3, dtype=torch.float64)
    mine, theirs = (x.clone(), weight.clone()), (x.clone().requires_grad_(), weight.clone().requires_grad_())
    mine = tuple(nn.Variable(value) for value in mine)
    y, twin = (F.l1_loss(of, SPREAD, reduction=reduction, weight=by) for of, by in (mine, theirs))
    upstream = torch.randn_like(twin)
    y.backward(upstream)
    twin.backward(upstream)
    torch.testing.assert_close(y.detach(), twin.detach(), rtol=1e-12, atol=1e-13)
    for value, value_twin in zip(mine, theirs, strict=True):
        torch.testing.assert_close(value.grad_v, value_twin.grad, rtol=1e-12, atol=1e-13)


def test_a_model_written_with_them() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 4)
            self.weight = nn.Parameter(torch.ones(2, 4))

        def forward(self, x: Any) -> Any:
            return F.linear(F.relu(self.layer(x)), self.weight)

    net = Net()
    F.cross_entropy(net(torch.randn(5, 3)), torch.tensor([0, 1, 0, 1, 0])).backward()
    assert all(isinstance(p.grad_v, Tensor) for p in net.parameters())


def test_those_that_are_not_here_raise() -> None:
    with pytest.raises(RuntimeError, match="cdist has no derivative in modgrad"):
        torch.cdist(nn.Variable(torch.ones(3, 2)), torch.ones(3, 2))
    with pytest.raises(ValueError, match=r"write weight.expand\(input.shape\)"):
        F.mse_loss(nn.Variable(torch.ones(3)), torch.ones(3), weight=torch.ones(1))
    with pytest.raises(RuntimeError, match=r"write x = F.dropout\(x, ...\)"):
        F.dropout(nn.Variable(torch.ones(3)), inplace=True)
    with pytest.raises(RuntimeError, match=r"take the rows by weight\[input\]"):
        F.embedding(torch.tensor([0]), nn.Variable(torch.ones(3, 2)))


def test_embedding_of_a_parameter() -> None:
    start, input = torch.randn(4, 3, dtype=torch.float64), torch.tensor([[0, 2], [2, 1]])
    mine, theirs = nn.Parameter(start.clone()), start.clone().requires_grad_()
    for options in ({}, {"padding_idx": -2}, {"padding_idx": 1, "scale_grad_by_freq": True}):
        mine.grad_v = theirs.grad = None
        y, twin = F.embedding(input, mine, **options), F.embedding(input, theirs, **options)
        upstream = torch.randn_like(twin)
        y.backward(upstream)
        twin.backward(upstream)
        assert torch.equal(y.detach(), twin.detach())
        torch.testing.assert_close(mine.grad_v, theirs.grad, rtol=1e-12, atol=1e-13)
    assert type(F.embedding(input, nn.Parameter(start, False))) is torch.Tensor

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
    with pytest.raises(RuntimeError, match="cosine_similarity has no derivative in modgrad"):
        F.cosine_similarity(nn.Variable(torch.ones(3)), torch.ones(3), dim=0)
    with pytest.raises(RuntimeError, match="weigh the squares yourself"):
        F.mse_loss(nn.Variable(torch.ones(3)), torch.ones(3), weight=torch.ones(3))
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


def test_bags_of_a_parameter() -> None:
    start, input = torch.randn(4, 3, dtype=torch.float64), torch.tensor([0, 2, 2, 1])
    scales, offsets = torch.randn(4, dtype=torch.float64), torch.tensor([0, 1])
    for options in ({}, {"mode": "sum", "padding_idx": -2}, {"mode": "max"}, {"mode": "sum", "weighted": True}):
        mine, theirs = nn.Parameter(start.clone()), start.clone().requires_grad_()
        weighted = options.pop("weighted", False)
        by, by_twin = (nn.Variable(scales.clone()), scales.clone().requires_grad_()) if weighted else (None, None)
        y = F.embedding_bag(input, mine, offsets, per_sample_weights=by, **options)
        twin = F.embedding_bag(input, theirs, offsets, per_sample_weights=by_twin, **options)
        upstream = torch.randn_like(twin)
        y.backward(upstream)
        twin.backward(upstream)
        torch.testing.assert_close(y.detach(), twin.detach(), rtol=1e-12, atol=1e-13)
        torch.testing.assert_close(mine.grad_v, theirs.grad, rtol=1e-12, atol=1e-13)
        if weighted:
            torch.testing.assert_close(by.grad_v, by_twin.grad, rtol=1e-12, atol=1e-13)
            y = F.embedding_bag(input, start, offsets, mode="sum", per_sample_weights=by)  # not to be trained
            assert type(y) is nn.Variable
    with pytest.raises(RuntimeError, match="EmbeddingBag: expected an nn.Parameter"):
        F.embedding_bag(input, nn.Variable(start), offsets)

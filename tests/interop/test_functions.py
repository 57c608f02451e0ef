"""PyTorch's functions of layers on Variables: values and gradients are those they have on PyTorch's tensors."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from modgrad import interop, nn
from modgrad.graph import Randomness

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
        (lambda x: F.conv1d(x, x[:, :, :3] * 2, x[:, 0, 0], padding="same"), (3, 3, 4)),
        (lambda x: F.conv_transpose2d(x, x * 2, stride=(2, 1), dilation=2), (2, 2, 3, 4)),
        (lambda x: F.unfold(x, 2, padding=1), (1, 2, 4, 4)),
        (lambda x: F.fold(x, (3, 3), kernel_size=2), (1, 8, 4)),
        (lambda x: F.interpolate(x, scale_factor=2), (1, 2, 4, 4)),
        (lambda x: F.interpolate(x, (3, 5), mode="bicubic", align_corners=True), (1, 2, 4, 4)),
        (lambda x: F.interpolate(x, 3, mode="bilinear", antialias=True), (1, 2, 5, 5)),
        (lambda x: F.pixel_shuffle(x, 2) + F.pixel_unshuffle(x, 2).sum(), (1, 4, 4, 4)),
        (lambda x: F.channel_shuffle(x, 2), (1, 4, 4, 4)),
        (lambda x: F.relu6(x * 5) + F.hardtanh(x) + F.hardtanh(x, -0.2, 0.3) + F.hardtanh(x, max_val=0.1), (3, 3)),
        (lambda x: F.hardtanh(x, 0.0, 0.0) + F.hardtanh(x, 0.5, 0.5) + x, (3, 3)),
        (lambda x: F.leaky_relu(x) + F.leaky_relu(x, 0.3) + F.leaky_relu(x, negative_slope=-0.3), (3, 3)),
        (lambda x: F.elu(x) + F.elu(x, 0.3) + F.celu(x, 0.5) + torch.celu(x) + F.selu(x) + torch.selu(x), (3, 3)),
        (lambda x: F.silu(x) + F.mish(x) + F.logsigmoid(x) + F.softplus(x) + F.softplus(x, 2, threshold=1.5), (3, 3)),
        (
            lambda x: F.threshold(x, 0.1, 20.0) + torch.threshold(x, 0.1, -1.0) + F.threshold(x, value=1, threshold=0),
            (3,),
        ),
        (lambda x: F.hardshrink(x) + x.hardshrink(0.1) + F.softshrink(x) + F.softshrink(x, lambd=0.1), (3, 3)),
        (lambda x: F.tanhshrink(x) + F.softsign(x) + F.hardswish(x), (3, 3)),
        (lambda x: F.glu(x).sum() + F.glu(x, dim=0).sum(), (2, 4)),
        (lambda x: F.softmin(x, dim=1) + F.softmin(x, 0, dtype=torch.float64), (3, 3)),
        (lambda x: torch.special.softmax(x, 0) + torch.special.log_softmax(x, 1), (3, 3)),
        (lambda x: F.prelu(x, x[0]) + torch.prelu(x, torch.tensor([0.2]).double()) + x.prelu(x[0, 1]), (3, 3)),
        (lambda x: F.rrelu(x) + F.rrelu(x, 0.1, upper=0.2) + torch.rrelu(x), (3, 3)),
        (lambda x: _seeded(lambda: F.rrelu(x, training=True) + torch.rrelu(x, -0.5, 0.5, True)), (3, 3)),
        (lambda x: _seeded(lambda: F.gumbel_softmax(x, 0.7)), (3, 3)),
        (lambda x: _seeded(lambda: F.gumbel_softmax(x, hard=True, dim=0)), (3, 3)),
        (lambda x: _seeded(lambda: F.dropout1d(x) + F.dropout1d(x, 0.3)), (2, 3, 2)),
        (lambda x: _seeded(lambda: F.dropout2d(x) + F.dropout2d(x, training=False)), (2, 3, 2, 2)),
        (lambda x: _seeded(lambda: F.dropout3d(x)), (2, 3, 2, 2, 1)),
        (lambda x: F.alpha_dropout(x) + F.feature_alpha_dropout(x), (3, 3)),
        (lambda x: _seeded(lambda: F.alpha_dropout(x, training=True) + F.feature_alpha_dropout(x, 0.2, True)), (3, 3)),
        (lambda x: _seeded(lambda: torch.dropout(x, 0.4, True) + torch.dropout(x, train=False, p=0.4)), (3, 3)),
        (lambda x: _seeded(lambda: torch.alpha_dropout(x, 0.4, True) + torch.feature_dropout(x, 0.4, True)), (3, 3)),
        (lambda x: _seeded(lambda: torch.feature_alpha_dropout(x, 0.4, True)), (3, 3)),
        (lambda x: F.pad(x, [1, 2]) + F.pad(x, (2, 1), value=3.0) + F.pad(x, (0, 3), "constant", 1), (3, 3)),
        (
            lambda x: F.pad(x, (2, 1), mode="reflect") + F.pad(x, (1, 2), "replicate") + F.pad(x, (2, 1), "circular"),
            (3, 3),
        ),
        (lambda x: F.pad(x, torch.Size((1, -1, 2, 0))), (3, 3)),
        (lambda x: F.mse_loss(x, SPREAD), (3, 3)),
        (lambda x: F.mse_loss(x, SPREAD, weight=SPREAD) + F.mse_loss(x, SPREAD, reduction="sum", weight=x), (3, 3)),
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


def test_convolution_of_any_mix_of_inputs() -> None:
    """Weight and bias as Parameters, frozen or not, Variables, plain tensors; each gets the gradient that it wants."""
    start = [torch.randn(shape, dtype=torch.float64) for shape in ((2, 3, 5, 5), (4, 3, 2, 2), (4,))]
    kinds: list[Callable[[Tensor], Any]] = [nn.Parameter, nn.Variable, lambda x: x, lambda x: nn.Parameter(x, False)]
    for choice in itertools.product(range(4), repeat=3):
        mine = [kinds[kind](x.clone()) for kind, x in zip(choice, start, strict=True)]
        theirs = [x.clone().requires_grad_(kind < 2) for kind, x in zip(choice, start, strict=True)]
        y, twin = F.conv2d(*mine, stride=2, padding=1), F.conv2d(*theirs, stride=2, padding=1)
        torch.testing.assert_close(y.detach(), twin.detach(), rtol=1e-12, atol=1e-13)
        if not twin.requires_grad:
            assert type(y) is Tensor
            continue
        upstream = torch.randn_like(twin)
        y.backward(upstream)
        twin.backward(upstream)
        for a, b, kind in zip(mine, theirs, choice, strict=True):
            if kind < 2:
                torch.testing.assert_close(a.grad_v, b.grad, rtol=1e-12, atol=1e-13)
            else:
                assert getattr(a, "grad_v", None) is None


def test_convolutions_that_do_not_fit() -> None:
    x, weight = nn.Variable(torch.ones(2, 3, 5, 5)), torch.ones(4, 3, 2, 2)
    with pytest.raises(ValueError, match=r"conv2d: expected a weight of 4 dimensions, got one of shape \(3, 2, 2\)"):
        F.conv2d(x, weight[0])
    with pytest.raises(ValueError, match=r"input of shape \(5, 5\).*expected an input \(N, C, H, W\)"):
        F.conv2d(x[0, 0], weight)
    with pytest.raises(TypeError, match=r"torch.float32, torch.float64: write .to\(torch.float32\)"):
        F.conv2d(x, weight.double())
    with pytest.raises(RuntimeError, match=r"Convolution was given an input of shape \(2, 3, 5, 5\): .*groups=3"):
        F.conv2d(x, weight, groups=3)
    with pytest.raises(ValueError, match=r"conv2d\(padding='full'\)"):
        F.conv2d(x, weight, padding="full")


def test_l1_loss_says_that_it_cannot_tell_its_weight() -> None:
    """F.l1_loss of PyTorch 2.13 does not hand its weight on to who takes its place: with it or without, it raises."""
    x, weight = torch.ones(3), torch.rand(3)
    for named in ({}, {"weight": weight}, {"weight": nn.Variable(weight)}):
        with pytest.raises(RuntimeError, match=r"write nn.L1Loss\(\)\(input, target\), or, with a weight"):
            F.l1_loss(nn.Variable(x), x, **named)
    mine, twin = nn.Variable(x), x.clone().requires_grad_()
    interop.functions.loss._l1_loss(mine, 3 * x, weight=weight).backward()  # as a PyTorch that hands it on would call
    F.l1_loss(twin, 3 * x, weight=weight).backward()
    torch.testing.assert_close(mine.grad_v, twin.grad)


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
    with pytest.raises(RuntimeError, match="fft_fft has no derivative in modgrad"):
        torch.fft.fft(nn.Variable(torch.ones(3)))
    with pytest.raises(ValueError, match=r"write weight.expand\(input.shape\)"):
        F.mse_loss(nn.Variable(torch.ones(3)), torch.ones(3), weight=torch.ones(1))
    with pytest.raises(RuntimeError, match=r"write x = F.dropout\(x, ...\)"):
        F.dropout(nn.Variable(torch.ones(3)), inplace=True)
    for name, *options in [
        ("relu",),
        ("hardtanh",),
        ("rrelu",),
        ("leaky_relu",),
        ("threshold", 0.1, 0.2),
        ("dropout2d",),
    ]:
        with pytest.raises(RuntimeError, match=rf"write x = F.{name}\(x, ...\)"):
            getattr(F, name)(nn.Variable(torch.ones(1, 3, 1, 1)), *options, inplace=True)
    for name in ("relu_", "elu_", "selu_", "celu_", "leaky_relu_", "hardtanh_", "rrelu_"):
        with pytest.raises(RuntimeError, match=f"{name} would change a Variable in place"):
            getattr(F, name)(nn.Variable(torch.ones(3)))
    with pytest.raises(RuntimeError, match="write torch.manual_seed"):
        torch.rrelu(nn.Variable(torch.ones(3)), generator=torch.Generator())
    with pytest.raises(ValueError, match="expected one of 'constant', 'reflect', 'replicate', 'circular'"):
        F.pad(nn.Variable(torch.ones(3)), (1, 1), "mirror")
    with pytest.raises(ValueError, match="only what is padded with a constant has a value"):
        F.pad(nn.Variable(torch.ones(2, 3)), (1, 1), "reflect", 2.0)
    with pytest.raises(ValueError, match=r"hardtanh\(min_val=1.0, max_val=0.0\): expected the lower one first"):
        F.hardtanh(nn.Variable(torch.ones(3)), 1.0, 0.0)
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


def test_hardsigmoid() -> None:
    """In float64 PyTorch's derivative is a part in 3e7 too much."""
    x = torch.randn(5, dtype=torch.float64)
    mine, theirs = nn.Variable(x.clone()), x.clone().requires_grad_()
    y, twin = F.hardsigmoid(mine), F.hardsigmoid(theirs)
    assert torch.equal(y.detach(), twin.detach())
    upstream = torch.randn_like(x)
    y.backward(upstream)
    twin.backward(upstream)
    torch.testing.assert_close(mine.grad_v, upstream / 6, rtol=1e-15, atol=0)
    torch.testing.assert_close(mine.grad_v, theirs.grad, rtol=1e-7, atol=0)


def test_gumbel_softmax_from_a_key() -> None:
    """The same again from the same key; and the i-th is chosen as often as its softmax says."""
    logits = torch.tensor([0.1, 0.2, 0.7]).log().expand(4000, 3).contiguous()
    drawn = []
    for _ in range(2):
        with Randomness(torch.tensor([3, 1])):
            drawn.append(F.gumbel_softmax(nn.Variable(logits), hard=True).detach())
    assert torch.equal(*drawn)
    torch.testing.assert_close(drawn[0].mean(0), torch.tensor([0.1, 0.2, 0.7]), rtol=0, atol=0.03)


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

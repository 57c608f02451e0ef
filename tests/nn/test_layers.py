"""What layers do beyond the contract: running statistics, arguments that differ in kind."""

from __future__ import annotations

import pytest
import torch

from modgrad import nn


@pytest.mark.parametrize("momentum", [0.1, 0.7, None])
def test_running_statistics(momentum: float | None) -> None:
    mine, twin = nn.BatchNorm2d(3, momentum=momentum), torch.nn.BatchNorm2d(3, momentum=momentum)
    for _ in range(4):
        x = torch.randn(5, 3, 2, 2) * 3 + 1
        mine(x)
        twin(x)
    for name, value in twin.state_dict().items():
        torch.testing.assert_close(mine.state_dict()[name], value)
    assert mine.num_batches_tracked.item() == 4
    torch.testing.assert_close(mine.eval()(x).detach(), twin.eval()(x).detach())
    mine.reset_parameters()
    assert mine.running_mean.tolist() == [0.0] * 3


def test_running_statistics_move_under_no_grad_and_when_frozen_but_not_in_evaluation() -> None:
    layer, x = nn.BatchNorm2d(3), torch.randn(5, 3, 2, 2)
    with nn.no_grad():
        layer(x)
    layer.freeze()
    layer(x)
    layer.eval()
    layer(x)
    assert layer.num_batches_tracked.item() == 2


def test_softmax_without_dim_chooses_as_pytorch_does() -> None:
    for shape, dim in [((3,), 0), ((2, 3), 1), ((2, 3, 4), 0), ((2, 3, 4, 5), 1)]:
        x = torch.randn(shape)
        with pytest.warns(UserWarning, match=f"chosen to be {dim}"):
            y = nn.Softmax()(x)
        assert torch.equal(y, x.softmax(dim))


def test_inputs_by_name() -> None:
    x, y = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    loss = nn.CrossEntropyLoss()
    by_name = loss(target=y, input=nn.Variable(x))
    assert torch.equal(by_name.detach(), loss(x, y))
    by_name.backward()
    assert nn.Linear(3, 2)(input=x).shape == (4, 2)


def test_one_hot_targets_equal_class_indices() -> None:
    x, y = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    one_hot = torch.eye(3)[y]
    for reduction in ("mean", "sum", "none"):
        a, b = nn.Variable(x), nn.Variable(x)
        loss = nn.CrossEntropyLoss(reduction=reduction)
        first, second = loss(a, y), loss(b, one_hot)
        torch.testing.assert_close(first.detach(), second.detach())
        first.sum().backward()
        second.sum().backward()
        torch.testing.assert_close(a.grad_v, b.grad_v)


def test_extreme_scores() -> None:
    x = torch.tensor([[1e4, -1e4, 0.0], [-1e30, 1e30, 0.0]])
    mine, theirs = nn.Variable(x.clone()), x.clone().requires_grad_()
    target = torch.tensor([0, 1])
    loss, twin = nn.CrossEntropyLoss()(mine, target), torch.nn.CrossEntropyLoss()(theirs, target)
    loss.backward()
    twin.backward()
    assert loss.item() == twin.item() == 0
    assert torch.equal(mine.grad_v, theirs.grad)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_empty_and_fully_ignored_batches_as_in_pytorch(reduction: str) -> None:
    for x, y in [
        (torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64)),
        (torch.zeros(2, 3), torch.tensor([-100, -100])),
    ]:
        mine = nn.CrossEntropyLoss(reduction=reduction)(x, y)
        twin = torch.nn.CrossEntropyLoss(reduction=reduction)(x, y)
        torch.testing.assert_close(mine, twin, equal_nan=True)


def test_kinks_as_in_pytorch() -> None:
    for value in (0.0, -0.0, float("nan"), float("inf"), -float("inf")):
        mine, theirs = nn.Variable(torch.tensor([value])), torch.tensor([value], requires_grad=True)
        upstream = torch.tensor([2.0])
        for ours, its in ((mine.relu(), theirs.relu()), (mine.abs(), theirs.abs()), (mine**0, theirs**0)):
            mine.grad_v, theirs.grad = None, None
            ours.backward(upstream)
            its.backward(upstream)
            torch.testing.assert_close(mine.grad_v, theirs.grad, equal_nan=True)


def test_layer_norm_keeps_and_computes_no_more_than_is_wanted() -> None:
    layer, x = nn.LayerNorm(4), torch.randn(3, 4)
    assert layer.weight is not None
    assert layer.bias is not None
    layer.weight.grad_f = False
    y = layer(x)
    assert y._source[0].saved == ()
    y.backward(torch.ones(3, 4))
    assert torch.equal(layer.bias.grad_v, torch.full((4,), 3.0))
    assert layer.weight.grad_v is None
    layer.freeze()
    y = layer(nn.Variable(x))
    call, upstream = y._source[0], torch.ones(3, 4)
    assert [g is not None for g in layer._gradients(call, upstream)] == [True, False, False]
    assert layer._gradients(call, upstream) is layer._gradients(call, upstream), "one pass for both methods"


def test_layer_norm_explains_what_it_was_given() -> None:
    with pytest.raises(ValueError, match=r"input of shape \(4, 3\): its last dimensions must be \(4,\)"):
        nn.LayerNorm(4)(torch.ones(4, 3))
    with pytest.raises(TypeError, match=r"write input.to\(torch.float32\)"):
        nn.LayerNorm(4)(torch.ones(3, 4, dtype=torch.float64))
    with pytest.raises(ValueError, match="at least one"):
        nn.LayerNorm(())
    assert nn.LayerNorm(torch.tensor(4)).normalized_shape == (4,), "any kind of integer"  # type: ignore[arg-type]
    layer = nn.LayerNorm(4)
    for value in (layer.weight, layer.bias):
        assert value is not None
        value.data.fill_(7)
    layer.reset_parameters()
    assert layer.weight.tolist() == [1.0] * 4  # type: ignore[union-attr]
    assert layer.bias.tolist() == [0.0] * 4  # type: ignore[union-attr]


def test_gelu_knows_two_ways() -> None:
    with pytest.raises(ValueError, match='expected "none" or "tanh"'):
        nn.GELU("erf")
    for value in (0.0, -0.0, 1e3, -1e3, float("nan")):
        for approximate in ("none", "tanh"):
            mine, theirs = nn.Variable(torch.tensor([value])), torch.tensor([value], requires_grad=True)
            for layer, x in ((nn.GELU(approximate), mine), (torch.nn.GELU(approximate), theirs)):
                layer(x).sum().backward()
            torch.testing.assert_close(mine.grad_v, theirs.grad, equal_nan=True)


def test_losses_refuse_what_pytorch_gave_up() -> None:
    for loss in (nn.MSELoss, nn.CrossEntropyLoss):
        with pytest.raises(TypeError, match='write reduction="mean"'):
            loss(reduce=False)


def test_flatten_and_identity() -> None:
    x = nn.Variable(torch.randn(2, 3, 4))
    assert nn.Flatten()(x).shape == (2, 12)
    assert nn.Flatten(0, 1)(x).shape == (6, 4)
    assert nn.Identity(3, unused=True)(x) is x
    assert repr(nn.Flatten(0)) == "Flatten(start_dim=0, end_dim=-1)"


def test_a_convolution_whose_attributes_were_set_since() -> None:
    """As those do who replace strides by dilation in a trained network."""
    for set_to in (
        {"stride": 2, "dilation": [2, 1], "padding": (2, 1)},
        {"padding": "same"},
        {"padding_mode": "reflect"},
    ):
        mine, twin = nn.Conv2d(2, 3, 3, padding=1), torch.nn.Conv2d(2, 3, 3, padding=1)
        mine.load_state_dict(twin.state_dict())
        for name, value in set_to.items():
            setattr(mine, name, value)
            setattr(twin, name, value)
        x, other = nn.Variable(torch.randn(2, 2, 7, 6)), torch.zeros(2, 2, 7, 6, requires_grad=True)
        other.data.copy_(x.detach())
        y, expected = mine(x), twin(other)
        mine.stride, mine.padding = (3, 3), 0  # too late for this call
        y.backward(torch.ones_like(expected))
        expected.sum().backward()
        torch.testing.assert_close(y.detach(), expected.detach())
        torch.testing.assert_close(x.grad_v, other.grad)
        torch.testing.assert_close(mine.weight.grad_v, twin.weight.grad)


def test_output_size_of_a_transposed_convolution() -> None:
    mine, twin = (
        nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1),
        torch.nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1),
    )
    mine.load_state_dict(twin.state_dict())
    x = torch.randn(2, 2, 5, 5)
    for size in ([10, 10], (2, 3, 10, 9), torch.Size((9, 10))):
        torch.testing.assert_close(mine(x, output_size=size).detach(), twin(x, output_size=list(size)).detach())
    y = nn.Variable(x)
    mine(y, [9, 10]).sum().backward()
    assert y.grad_v.shape == x.shape
    with pytest.raises(
        ValueError, match=r"output_size=\(11, 9\): for an input of shape .* from \(9, 9\) to \(10, 10\)"
    ):
        mine(x, output_size=(11, 9))
    with pytest.raises(ValueError, match=r"expected 2 numbers \(H, W\), or 4"):
        mine(x, output_size=(9,))


def test_initial_values_do_not_depend_on_the_layout() -> None:
    layers = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    for layer in layers:
        torch.manual_seed(3)
        layer.reset_parameters()
    assert layers[1].weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(layers[0].weight, layers[1].weight)
    assert torch.equal(layers[0].bias, layers[1].bias)


def test_a_convolution_says_whose_the_kernels_error_is() -> None:
    with pytest.raises(
        RuntimeError, match=r"Conv2d\(3, 2, .*was given an input of shape \(1, 3, 5, 5\): .*Kernel size"
    ):
        nn.Conv2d(3, 2, 9)(torch.ones(1, 3, 5, 5))
    with pytest.raises(TypeError, match=r"parameters of torch.float32.*write input.to\(torch.float32\)"):
        nn.Conv1d(3, 2, 2)(torch.ones(1, 3, 5, dtype=torch.float64))


def test_convolutions_print_as_pytorchs() -> None:
    for make in (
        lambda n: n.Conv1d(4, 2, 3, padding="same", bias=False, padding_mode="circular"),
        lambda n: n.Conv3d(4, 2, 3, (1, 2, 3), 1, 2, 2),
        lambda n: n.ConvTranspose2d(4, 2, 3, 2, 1, 1, 2, False, 3),
    ):
        assert repr(make(nn)) == repr(make(torch.nn))


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")  # PyTorch's
def test_a_function_padded_to_the_same_size_by_an_odd_number() -> None:
    x, weight = torch.randn(1, 2, 5, 4), torch.randn(3, 2, 4, 2)
    mine, theirs = nn.Variable(x.clone()), x.clone().requires_grad_()
    y, twin = (torch.conv2d(v, weight, padding="same", dilation=(1, 3)) for v in (mine, theirs))
    upstream = torch.randn_like(twin)
    y.backward(upstream)
    twin.backward(upstream)
    torch.testing.assert_close(y.detach(), twin.detach())
    torch.testing.assert_close(mine.grad_v, theirs.grad)


def test_what_is_refused_says_why() -> None:
    with pytest.raises(AttributeError, match=r"LazyConv2d.*write Conv2d with its sizes"):
        nn.LazyConv2d  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(AttributeError, match="weight_norm.*computes a parameter anew"):
        nn.utils.weight_norm  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(AttributeError, match="has no attribute 'Liner'$"):
        nn.Liner  # type: ignore[attr-defined]  # noqa: B018

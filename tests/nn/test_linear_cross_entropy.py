"""LinearCrossEntropyLoss, beyond the contract: chunks, tied weights, memory, tracing, PyTorch's own class."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode

from modgrad import functional, nn
from modgrad.graph.tracing import Tracing, substituted

EXACT = {"rtol": 1e-12, "atol": 1e-13}


class Largest(TorchDispatchMode):
    """Notes how many values the largest tensor has that any operation makes."""

    numel = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(value, Tensor):
                self.numel = max(self.numel, value.untyped_storage().nbytes() // value.element_size())
        return result


def tensors(count: int = 24, features: int = 4, classes: int = 50) -> tuple[Tensor, Tensor]:
    return torch.randn(count, features), torch.randint(0, classes, (count,))


@pytest.mark.skipif(not hasattr(torch.nn, "LinearCrossEntropyLoss"), reason="PyTorch has it since 2.13")
@pytest.mark.parametrize("bias", [False, True])
def test_is_pytorchs(bias: bool) -> None:
    """The same names, shapes and initial values for the same seed; the same loss and gradients."""
    options = {"bias": bias, "dtype": torch.float64, "label_smoothing": 0.1, "weight": torch.rand(5).double()}
    torch.manual_seed(3)
    mine = nn.LinearCrossEntropyLoss(4, 5, **options)
    torch.manual_seed(3)
    theirs = torch.nn.LinearCrossEntropyLoss(4, 5, **options)
    assert mine.state_dict().keys() == theirs.state_dict().keys()
    for name, value in theirs.state_dict().items():
        assert torch.equal(mine.state_dict()[name], value)
    h, target = torch.randn(7, 4, dtype=torch.float64), torch.randint(0, 5, (7,))
    x, x_twin = nn.Variable(h), h.clone().requires_grad_()
    loss, loss_twin = mine(x, target), theirs(x_twin, target)
    loss.backward()
    loss_twin.backward()
    torch.testing.assert_close(loss.detach(), loss_twin.detach(), **EXACT)
    torch.testing.assert_close(x.grad_v, x_twin.grad, **EXACT)
    for name, parameter in theirs.named_parameters():
        torch.testing.assert_close(mine.get_parameter(name).grad_v, parameter.grad, **EXACT)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_no_more_than_a_chunk_of_scores(reduction: str) -> None:
    h, target = tensors(count=64, classes=50)
    criterion = nn.LinearCrossEntropyLoss(4, 50, reduction=reduction, options=8)
    with Largest() as seen:
        loss = criterion(nn.Variable(h), target)
        loss.backward(torch.ones_like(loss))
    assert seen.numel == 8 * 50


def test_what_is_not_wanted_is_not_computed() -> None:
    h, target = tensors()
    criterion = nn.LinearCrossEntropyLoss(4, 50, bias=True)
    computed: Any = criterion(h, target)._source[0]
    assert [g is None for g in computed.gradients_at_one] == [True, False, False]
    computed = criterion.freeze()(nn.Variable(h), target)._source[0]
    assert [g is None for g in computed.gradients_at_one] == [False, True, True]


def test_tied_to_an_embedding() -> None:
    """A weight that the input is looked up in too gets both gradients."""
    table = nn.Parameter(torch.randn(9, 4, dtype=torch.float64))
    criterion = nn.LinearCrossEntropyLoss(4, 9, options=2)
    criterion.linear.weight = table
    tokens, target = torch.tensor([1, 4, 4, 8, 0]), torch.tensor([4, 4, 8, 0, 2])
    criterion(table[tokens], target).backward()
    twin = table.data.clone().requires_grad_()
    torch.nn.functional.cross_entropy(twin[tokens] @ twin.T, target).backward()
    torch.testing.assert_close(table.grad_v, twin.grad, **EXACT)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_no_worse_than_two_layers(dtype: torch.dtype) -> None:
    h, target = tensors(count=40, features=16, classes=300)
    criterion = nn.LinearCrossEntropyLoss(16, 300, dtype=dtype, options=16)

    def errors(loss_of: Any) -> list[float]:
        x = nn.Variable(h.to(dtype))
        criterion.zero_grad()
        loss_of(x, target).backward()
        exact = h.to(dtype).double().requires_grad_(), criterion.linear.weight.data.double().requires_grad_()
        torch.nn.functional.cross_entropy(exact[0] @ exact[1].T, target).backward()
        mine = x.grad_v, criterion.linear.weight.grad_v
        return [float((a - b.grad).norm() / b.grad.norm()) for a, b in zip(mine, exact, strict=True)]

    chunked = errors(criterion)
    two_layers = errors(lambda x, t: nn.CrossEntropyLoss()(criterion.linear(x), t))
    for a, b in zip(chunked, two_layers, strict=True):
        assert a <= 1.2 * b, "relative error in norm, and noise"


def test_everything_ignored_gives_no_gradient() -> None:
    h, _ = tensors(count=3)
    x, criterion = nn.Variable(h), nn.LinearCrossEntropyLoss(4, 50)
    loss = criterion(x, torch.full((3,), -100))
    loss.backward()
    assert loss.isnan()
    assert not x.grad_v.any()
    assert not criterion.linear.weight.grad_v.any()


def _step(criterion: Any) -> Any:
    def step(state: dict[str, Tensor], h: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        with Tracing(), substituted(criterion, state) as parameters:
            x = nn.Variable(h)
            loss = criterion(x, target)
            (loss * 3).sum().backward()
            return loss, x.grad_v, parameters["linear.weight"].grad_v

    return step


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_traced_with_a_dynamic_batch(reduction: str) -> None:
    """A symbolic number of rows has no loop: the scores are made in one piece, and any batch size is right."""
    criterion = nn.LinearCrossEntropyLoss(4, 50, reduction=reduction, options=5)
    step = _step(criterion)

    class Step(torch.nn.Module):
        def forward(self, state: dict[str, Tensor], h: Tensor, target: Tensor) -> Any:
            return step(state, h, target)

    batch = torch.export.Dim("batch", min=2, max=100)
    shapes = {"state": {"linear.weight": None}, "h": {0: batch}, "target": {0: batch}}
    state = criterion.state_dict()
    program = torch.export.export(Step(), (state, *tensors()), dynamic_shapes=shapes, strict=False).module()
    for count in (24, 7):
        h, target = tensors(count)
        x = nn.Variable(h)
        criterion.zero_grad()
        loss = criterion(x, target)
        (loss * 3).sum().backward()
        expected = loss.detach(), x.grad_v, criterion.linear.weight.grad_v
        torch.testing.assert_close(program(state, h, target), expected)


def test_traced_with_a_known_batch_has_chunks() -> None:
    criterion = nn.LinearCrossEntropyLoss(4, 50, options=10)
    h, target = tensors()
    program = make_fx(_step(criterion), tracing_mode="fake")(criterion.state_dict(), h, target)
    assert sum(node.target is torch.ops.aten.amax.default for node in program.graph.nodes) == 3


def test_errors() -> None:
    criterion = nn.LinearCrossEntropyLoss(4, 50)
    h, target = tensors()
    with pytest.raises(IndexError, match="class 50 is out of bounds: classes are 0 to 49"):
        criterion(h, target + 50 - target)
    with pytest.raises(ValueError, match=r"expected \(N, 4\) or \(4,\).*flatten"):
        criterion(h.reshape(4, 6, 4), target)
    with pytest.raises(ValueError, match="class indices must be int64, of shape"):
        criterion(h, target[:3])
    with pytest.raises(ValueError, match="probabilities must have shape"):
        criterion(h, torch.rand(24, 49))
    with pytest.raises(TypeError, match="write input.to"):
        criterion(h.double(), target)
    with pytest.raises(ValueError, match="names a class"):
        nn.LinearCrossEntropyLoss(4, 50, ignore_index=3)(h, torch.rand(24, 50))
    for arguments, error, match in [
        ({"weight": torch.ones(3)}, ValueError, "expected \\(50,\\)"),
        ({"label_smoothing": 2}, ValueError, "0 to 1"),
        ({"options": 0}, ValueError, "how many samples"),
        ({"options": object()}, TypeError, "how many samples"),
        ({"reduction": "max"}, ValueError, "expected"),
    ]:
        with pytest.raises(error, match=match):
            nn.LinearCrossEntropyLoss(4, 50, **arguments)
    for arguments in ({"batch_chunk_size": 1.5}, {"chunking_method": "aspect_ratio:0"}, {"acc_policy": "exact"}):
        with pytest.raises(ValueError, match="expected"):
            nn.LinearCrossEntropyOptions(**arguments)
    for options, error, match in [
        ({"batch_chunk_size": 3, "chunking_method": "aspect_ratio"}, ValueError, "give one of the two"),
        ({"acc_dtype": torch.float64}, TypeError, "acc_dtype=torch.float64"),
    ]:
        with pytest.raises(error, match=match):
            nn.LinearCrossEntropyLoss(4, 50, options=nn.LinearCrossEntropyOptions(**options))(h, target)
    with pytest.raises(ValueError, match=r"expected \(N, 4\)\."):
        nn.LinearCrossEntropyLoss(4, 50, out_features=(2,))(h[0], target[:2])


def test_repr_is_pytorchs() -> None:
    for options in ({}, {"reduction": "sum", "out_features": (2,), "bias": True}):
        mine, theirs = (made.LinearCrossEntropyLoss(4, 50, **options) for made in (nn, torch.nn))
        assert mine.extra_repr() == theirs.extra_repr()


@pytest.mark.parametrize(
    ("options", "rows"),
    [
        ({}, 24),
        ({"batch_chunk_size": 5}, 5),
        ({"chunking_method": None}, 24),
        ({"chunking_method": "aspect_ratio"}, 2),
        ({"chunking_method": "aspect_ratio:2"}, 1),
        ({"batch_chunk_size": 2, "chunking_method": "aspect_ratio"}, 2),
    ],
)
def test_rows_to_a_chunk(options: dict[str, Any], rows: int) -> None:
    h, target = tensors(count=24, features=4, classes=50)
    for kind in (nn.LinearCrossEntropyOptions, torch.nn.LinearCrossEntropyOptions):
        with Largest() as seen:
            nn.LinearCrossEntropyLoss(4, 50, options=kind(**options))(nn.Variable(h), target)
        assert seen.numel == max(rows * 50, 50 * 4)  # the scores, or the weight


@pytest.mark.parametrize("policy", ["compact", "balanced", "accurate"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_precision(policy: str, dtype: torch.dtype) -> None:
    """The more is in float32, the nearer the gradients are to those of float64."""
    h, target = (x.to(dtype) if x.is_floating_point() else x for x in tensors(count=64, features=16, classes=30))

    def errors(policy: str) -> list[float]:
        options = nn.LinearCrossEntropyOptions(batch_chunk_size=2, acc_policy=policy)
        torch.manual_seed(0)
        criterion = nn.LinearCrossEntropyLoss(16, 30, dtype=dtype, options=options)
        x = nn.Variable(h)
        criterion(x, target).backward()
        W = criterion.linear.weight
        exact = h.double().requires_grad_(), W.data.double().requires_grad_()
        torch.nn.functional.cross_entropy(exact[0] @ exact[1].T, target).backward()
        assert x.grad_v.dtype == W.grad_v.dtype == dtype
        return [float((a - b.grad).norm()) for a, b in zip((x.grad_v, W.grad_v), exact, strict=True)]

    of_input, of_weight = errors(policy)
    rough_input, rough_weight = errors("compact")
    assert of_input <= rough_input
    assert of_weight <= rough_weight * (1 if policy == "compact" else 0.5), "32 chunks were not rounded one by one"


def test_gradients_that_are_kept() -> None:
    """allow_retain_graph: a second backward finds the gradients; without it, it computes them again."""
    h, target = tensors()
    x = nn.Variable(h)
    criterion = nn.LinearCrossEntropyLoss(4, 50, options=nn.LinearCrossEntropyOptions(allow_retain_graph=True))
    loss = criterion(x, target)
    loss.backward(retain_graph=True)
    first = x.grad_v.clone()
    with Largest() as seen:
        (loss * 2).backward()
    assert seen.numel <= 50 * 4, "no scores"
    torch.testing.assert_close(x.grad_v, 3 * first)


@pytest.mark.parametrize("formula", [False, True], ids=["chunks", "formula"])
def test_autocast_keeps_the_loss_in_float32(formula: bool) -> None:
    """The scores are products in bfloat16; what is made of them is not rounded."""
    ours, twin = nn.LinearCrossEntropyLoss(16, 50), torch.nn.Linear(16, 50, bias=False)
    ours.linear.weight.data.copy_(twin.weight.detach())
    x, target = torch.randn(12, 16), torch.randint(50, (12,))
    leaf, other = nn.Variable(x.clone()), x.clone().requires_grad_()
    with nn.autocast(torch.bfloat16), functional.formulas() if formula else nullcontext():
        loss = ours(leaf, target)
    with torch.autocast("cpu", torch.bfloat16):
        theirs = torch.nn.functional.cross_entropy(twin(other), target)
    assert loss.dtype == theirs.dtype == torch.float32
    torch.testing.assert_close(loss.detach(), theirs.detach(), rtol=1e-6, atol=0.0)
    with functional.formulas() if formula else nullcontext():
        loss.backward()
    theirs.backward()
    for grad, expected in [(leaf.grad_v, other.grad), (ours.linear.weight.grad_v, twin.weight.grad)]:
        assert grad.dtype == torch.float32
        torch.testing.assert_close(grad, expected, rtol=2**-6, atol=2e-4)

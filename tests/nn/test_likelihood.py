"""Losses of classes, beyond the contract: infinities, everything ignored, half precision, all alignments, errors."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor

from modgrad import functional, nn

INF, NAN = float("inf"), float("nan")
EXACT = {"rtol": 1e-12, "atol": 1e-13, "equal_nan": True}
WEIGHT = torch.tensor([0.5, 0.0, 2.0], dtype=torch.float64)  # with a class that does not count
BODIES = pytest.mark.parametrize("bodies", [nullcontext, functional.formulas], ids=["kernels", "formulas"])


def outcome(module: Any, inputs: list[Any], leaf: Callable[[Tensor], Any]) -> list[Tensor]:
    """The loss, and the gradients of the inputs, for a random upstream gradient."""
    x = [leaf(v.clone()) if isinstance(v, Tensor) and v.is_floating_point() else v for v in inputs]
    y = module(*x)
    torch.manual_seed(1)
    y.backward(torch.randn(y.shape, dtype=torch.float64).to(y.dtype))
    return [y.detach(), *(v.grad for v in x if isinstance(v, Tensor) and v.is_floating_point())]


def compare(name: str, options: dict[str, Any], inputs: list[Any], **tolerance: Any) -> None:
    mine = outcome(getattr(nn, name)(**options), inputs, nn.Variable)
    theirs = outcome(getattr(torch.nn, name)(**options), inputs, lambda x: x.requires_grad_())
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, **(tolerance or EXACT))


@BODIES
@pytest.mark.parametrize("shape", [(3,), (4, 3), (2, 3, 2), (2, 3, 2, 2)])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("value", [INF, -INF, NAN])
def test_infinities_are_pytorchs(value: float, reduction: str, shape: tuple[int, ...], bodies: Any) -> None:
    """A score that is not finite, at the target's class and elsewhere, at one that weighs nothing too."""
    x = torch.randn(shape, dtype=torch.float64)
    place = (0, 1, *(0 for _ in shape[2:])) if len(shape) > 1 else (1,)
    x[place] = value
    indices = torch.zeros(shape[:1] * (len(shape) > 1) + shape[2:], dtype=torch.int64)
    at_the_class = indices.clone()
    at_the_class.view(-1)[0] = 1
    probable = torch.rand(shape, dtype=torch.float64)
    probable[place] = 0
    rows: list[tuple[str, dict[str, Any]]] = [
        (name, {"weight": weight, "ignore_index": ignored})
        for name in ("NLLLoss", "CrossEntropyLoss")
        for weight in (None, WEIGHT)
        for ignored in (-100, 1)
    ]
    rows.append(("CrossEntropyLoss", {"weight": WEIGHT, "label_smoothing": 0.1}))
    with bodies():
        for name, options in rows:
            targets = [indices, at_the_class]
            if name == "CrossEntropyLoss" and options.get("ignore_index", -100) < 0:
                targets += [probable]
            for target in targets:
                compare(name, {**options, "reduction": reduction}, [x, target])


@BODIES
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", [(3,), (1, 3), (0, 3), (2, 3, 2), (2, 3, 0)])
def test_everything_ignored_or_nothing_there(shape: tuple[int, ...], dtype: torch.dtype, bodies: Any) -> None:
    x = torch.randn(shape).to(dtype)
    target = torch.full(shape[:1] * (len(shape) > 1) + shape[2:], -100)
    with bodies():
        for name, reduction in itertools.product(("NLLLoss", "CrossEntropyLoss"), ("mean", "sum", "none")):
            compare(name, {"reduction": reduction}, [x, target])
        for reduction in ("mean", "sum"):
            compare("CrossEntropyLoss", {"label_smoothing": 0.1, "reduction": reduction}, [x, target])


def log_probabilities() -> Tensor:
    return torch.randn(6, 3, 4, dtype=torch.float64).log_softmax(2)


def changed(place: tuple[int, ...], value: float) -> Tensor:
    x = log_probabilities()
    x[place] = value
    return x


LABELS = torch.tensor([[1, 2], [3, 3], [2, 1]])


@BODIES
@pytest.mark.parametrize("zero_infinity", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(
    "inputs",
    [
        [log_probabilities(), LABELS, (6, 2, 6), (2, 2, 2)],  # too short: a blank must be between repeated labels
        [log_probabilities(), LABELS, (0, 0, 6), (0, 2, 1)],  # of no steps
        [log_probabilities(), LABELS[:, :0], (6, 5, 0), (0, 0, 0)],  # of no labels
        [log_probabilities(), LABELS[0, :0], [6, 5, 0], [0, 0, 0]],
        [log_probabilities(), LABELS.flatten()[:4], (6, 5, 4), (1, 2, 1)],
        [log_probabilities(), torch.cat([LABELS, LABELS * 0 - 7], 1), (6, 6, 6), (2, 2, 1)],  # padded by no class
        [log_probabilities().transpose(0, 1).contiguous().transpose(0, 1), LABELS, (6, 6, 6), (2, 2, 2)],
        [torch.randn(6, 3, 4, dtype=torch.float64), LABELS, (6, 5, 4), (2, 1, 2)],  # not normalized
        [changed((1, 0, 3), -INF), LABELS, (6, 6, 6), (2, 2, 2)],
        [changed((1, 0, 1), -INF), LABELS, (6, 6, 6), (2, 2, 2)],
        [changed((1, 0, 1), NAN), LABELS, (6, 6, 6), (2, 2, 2)],
        [log_probabilities()[:, 0], LABELS[0], torch.tensor(6), torch.tensor(2)],
        [log_probabilities()[:, 0], LABELS[0], torch.tensor([5]), torch.tensor([2])],
        [log_probabilities()[:, 0], LABELS[0].short(), (5,), (2,)],
    ],
)
def test_labellings_are_pytorchs(inputs: list[Any], reduction: str, zero_infinity: bool, bodies: Any) -> None:
    with bodies():
        compare("CTCLoss", {"reduction": reduction, "zero_infinity": zero_infinity}, inputs)


@BODIES
def test_labelling_is_the_sum_over_all_paths(bodies: Any) -> None:
    """By definition: the probabilities of all paths that stand for the labels once repeats and blanks are dropped."""
    steps, classes, blank = 5, 3, 1
    log_probs = torch.randn(steps, 4, classes, dtype=torch.float64).log_softmax(2)
    labels = [[0, 0], [0, 2], [2], []]
    sums = torch.zeros(4, dtype=torch.float64)
    for path in itertools.product(range(classes), repeat=steps):
        meant = [k for k, _ in itertools.groupby(path) if k != blank]
        for i, label in enumerate(labels):
            if meant == label:
                sums[i] += torch.exp(sum(log_probs[t, i, k] for t, k in enumerate(path)))  # type: ignore[arg-type]
    with bodies():
        joined, lengths = torch.tensor([*itertools.chain(*labels)]), [len(label) for label in labels]
        losses = nn.CTCLoss(blank, reduction="none")(log_probs, joined, [steps] * 4, lengths)
    torch.testing.assert_close(losses, -sums.log(), **EXACT)


def test_labelling_errors() -> None:
    x, loss = log_probabilities(), nn.CTCLoss()
    for arguments, error, match in [
        ((x, LABELS, (7, 6, 6), (2, 2, 2)), ValueError, "input_lengths=.*from 0 to 6"),
        ((x, LABELS, (6, 6, 6), (3, 2, 2)), ValueError, "do not fit: there are 2 columns"),
        ((x, LABELS.flatten(), (6, 6, 6), (2, 2, 1)), ValueError, "do not fit"),
        ((x, LABELS, (6, 6), (2, 2)), ValueError, "one for each of 3 sequences"),
        ((x, LABELS[:2], (6, 6, 6), (2, 2, 2)), ValueError, "targets for 3 sequences"),
        ((x, LABELS + 1, (6, 6, 6), (2, 2, 2)), IndexError, "class 4 among the targets"),
        ((x, LABELS - 1, (6, 6, 6), (2, 2, 2)), IndexError, "without 0, the blank"),
        ((x, LABELS.float(), (6, 6, 6), (2, 2, 2)), TypeError, r"write targets.long\(\)"),
        ((x, LABELS, torch.ones(3), (2, 2, 2)), TypeError, r"write input_lengths.long\(\)"),
        ((x, LABELS, "666", (2, 2, 2)), TypeError, "a tuple of integers"),
        ((x.bfloat16(), LABELS, (6, 6, 6), (2, 2, 2)), TypeError, r"write log_probs.float\(\)"),
        ((x[:0], LABELS, (0, 0, 0), (0, 0, 0)), ValueError, "at least one step"),
    ]:
        with pytest.raises(error, match=match):
            loss(*arguments)
    with pytest.raises(ValueError, match="blank=4 must be one of the classes 0 to 3"):
        nn.CTCLoss(4)(x, LABELS, (6, 6, 6), (2, 2, 2))


def test_class_errors() -> None:
    x = torch.randn(4, 3)
    for arguments, error, match in [
        ((x, torch.tensor([0, 1, 2, 3])), IndexError, "class 3 is out of bounds"),
        ((x, torch.randn(4, 3)), ValueError, "probabilities are for CrossEntropyLoss"),
        ((x, torch.zeros(4, 3, dtype=torch.int64)), ValueError, "target.argmax"),
        ((x, torch.zeros(3, dtype=torch.int64)), ValueError, r"class indices must have shape \(4,\)"),
        ((x, torch.zeros(4, dtype=torch.int32)), ValueError, r"write target.long\(\)"),
    ]:
        with pytest.raises(error, match=match):
            nn.NLLLoss()(*arguments)
    for weight in (torch.ones(4), torch.ones(3, dtype=torch.float64)):
        with pytest.raises(ValueError, match="a number for each of 3 classes, in torch.float32"):
            nn.NLLLoss(weight)(x, torch.tensor([0, 1, 2, 0]))


@pytest.mark.parametrize("options", [(16, 20, [5, 10, 15]), (16, 200, [20, 100], 2.0, True), (4, 12, [3, 6, 9])])
@pytest.mark.filterwarnings(
    "ignore:Initializing zero-element tensors"
)  # PyTorch's own, where a cluster has no features
def test_adaptive_softmax_is_pytorchs(options: tuple[Any, ...]) -> None:
    """Names, shapes and initial values for the same seed; every class's probability; the most probable."""
    torch.manual_seed(3)
    mine = nn.AdaptiveLogSoftmaxWithLoss(*options, dtype=torch.float64)
    torch.manual_seed(3)
    theirs = torch.nn.AdaptiveLogSoftmaxWithLoss(*options, dtype=torch.float64)
    assert list(mine.state_dict()) == list(theirs.state_dict())
    for name, value in theirs.state_dict().items():
        assert torch.equal(mine.state_dict()[name], value)
    input = torch.randn(30, options[0], dtype=torch.float64)
    x, x_twin = nn.Variable(input.clone()), input.clone().requires_grad_()
    y, y_twin = mine.log_prob(x), theirs.log_prob(x_twin)
    upstream = torch.randn_like(y_twin)
    y.backward(upstream)
    y_twin.backward(upstream)
    torch.testing.assert_close(y.detach(), y_twin.detach(), **EXACT)
    torch.testing.assert_close(x.grad_v, x_twin.grad, **EXACT)
    assert torch.equal(mine.predict(x), theirs.predict(input))
    assert type(mine.predict(x)) is Tensor
    target = torch.randint(0, options[1], (30,))
    output, loss = mine(input, target)
    torch.testing.assert_close(output.detach(), y_twin.detach().gather(1, target.unsqueeze(1)).squeeze(1), **EXACT)
    assert mine(input, target).loss.item() == loss.item() == pytest.approx(-output.mean().item())


def test_adaptive_softmax_leaves_out_clusters_without_a_target() -> None:
    layer = nn.AdaptiveLogSoftmaxWithLoss(8, 12, [3, 6, 9])
    layer(torch.randn(5, 8), torch.tensor([0, 1, 7, 7, 2])).loss.backward()
    without = [name for name, parameter in layer.named_parameters() if parameter.grad_v is None]
    assert without == ["tail.0.0.weight", "tail.0.1.weight", "tail.2.0.weight", "tail.2.1.weight"]


def test_adaptive_softmax_errors() -> None:
    for cutoffs in ([], [3, 3], [6, 3], [0, 3], [12], [2.5]):
        with pytest.raises(ValueError, match="each larger than the one before"):
            nn.AdaptiveLogSoftmaxWithLoss(8, 12, cutoffs)
    layer, x = nn.AdaptiveLogSoftmaxWithLoss(8, 12, [3, 6, 9]), torch.randn(5, 8)
    for target, error, match in [
        (torch.tensor([0, 1, 2, 3, 12]), IndexError, "class 12 is out of bounds: classes are 0 to 11"),
        (torch.tensor([0, 1, -1, 3, 2]), IndexError, "class -1"),
        (torch.tensor([0, 1]), ValueError, "5 samples and 2 targets"),
        (torch.tensor(0), ValueError, r"expected \(N, 8\)"),
        (torch.rand(5), ValueError, r"class indices \(N\)"),
    ]:
        with pytest.raises(error, match=match):
            layer(x, target)


@pytest.mark.parametrize("joined", [False, True])
def test_labellings_whose_lengths_may_not_be_asked_for(joined: bool) -> None:
    """As where a program is traced: no shape depends on the lengths' values, and the numbers are the same."""
    x, inputs, lengths = log_probabilities(), [6, 2, 4], [2, 0, 1]
    labels = torch.tensor([1, 2, 3]) if joined else LABELS
    given = functional.ctc_loss(x, labels, torch.tensor(inputs), torch.tensor(lengths), 0, "none")
    known = functional.ctc_loss(x, labels, inputs, lengths, 0, "none")
    torch.testing.assert_close(given[0], known[0], **EXACT)
    grad = torch.randn(3, dtype=torch.float64)
    slope = functional.ctc_loss_backward(
        *(grad, x, labels, torch.tensor(inputs), torch.tensor(lengths), *given[1:], 0, "none")
    )
    expected = functional.ctc_loss_backward(grad, x, labels, inputs, lengths, *known[1:], 0, "none")
    torch.testing.assert_close(slope, expected, **EXACT)

"""helper: the data set, its preparation, the score, and what each of them refuses."""

from __future__ import annotations

import math
import re

import pytest
import torch
from torch import Tensor

from modgrad import nn
from modgrad.helper import compute_nb_errors, generate_dataset, normalize, one_hot_encoding


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def raises(kind: type[Exception], message: str):
    return pytest.raises(kind, match=re.escape(message))


# generate_dataset


def test_dataset_is_the_disc_in_the_unit_square():
    inputs, targets = generate_dataset(100_000, seeded())
    assert inputs.shape == (100_000, 2)
    assert inputs.dtype == torch.float32
    assert targets.shape == (100_000,)
    assert targets.dtype == torch.int64
    assert inputs.min() >= 0
    assert inputs.max() <= 1
    x, y = inputs.double().unbind(1)
    squared = (x - 0.5) ** 2 + (y - 0.5) ** 2
    clear = (squared - 1 / (2 * math.pi)).abs() > 1e-6  # float32 may err on points on the circle itself
    assert torch.equal(targets[clear] == 1, squared[clear] < 1 / (2 * math.pi))
    # Five standard deviations: sqrt(1/4 / n) for the share of a half, sqrt(1/12 / n) for a mean of uniform numbers.
    assert abs(targets.double().mean() - 0.5) < 5 * math.sqrt(1 / 4 / 100_000)
    assert (inputs.double().mean(0) - 0.5).abs().max() < 5 * math.sqrt(1 / 12 / 100_000)


def test_dataset_follows_its_generator_and_no_other():
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first, again, other = (generate_dataset(20, seeded(seed))[0] for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)
    without = generate_dataset(20)[0]
    torch.set_rng_state(state)
    assert torch.equal(generate_dataset(20)[0], without)


@pytest.mark.parametrize(("count", "kind"), [(0, ValueError), (-3, ValueError), (2.0, TypeError), (True, TypeError)])
def test_dataset_refuses_what_is_no_count(count, kind):
    with raises(kind, "generate_dataset: nb_points is"):
        generate_dataset(count)


# normalize


def test_normalize_uses_the_training_set_for_both():
    train, test = 3 + 2 * torch.randn(50, 4, generator=seeded()), torch.randn(30, 4, generator=seeded(1))
    before = train.clone(), test.clone()
    train_normalized, test_normalized = normalize(train, test)
    mean, std = train.double().mean(0), train.double().std(0, correction=0)
    torch.testing.assert_close(train_normalized.double(), (train.double() - mean) / std, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(test_normalized.double(), (test.double() - mean) / std, rtol=1e-5, atol=1e-5)
    assert torch.equal(train, before[0])
    assert torch.equal(test, before[1])


@pytest.mark.parametrize("value", [0.0, 0.1, -3.3, 1e8, 1e-30])
def test_normalize_only_centres_a_constant_column(value):
    # The sum of 0.1 a thousand times, divided by a thousand, is not 0.1.
    train = torch.stack([torch.full((1000,), value), torch.rand(1000, generator=seeded())], 1)
    train_normalized, test_normalized = normalize(train, torch.tensor([[value + 1, 0.5], [value, 0.5]]))
    assert torch.equal(train_normalized[:, 0], torch.zeros(1000))
    assert test_normalized[1, 0] == 0
    assert test_normalized[0, 0] == torch.tensor(value) + 1 - torch.tensor(value)
    assert train_normalized[:, 1].std() == pytest.approx(1, abs=1e-3)


def test_normalize_gives_finite_numbers_where_the_spread_is_too_small_to_be_squared():
    train_normalized, _ = normalize(torch.tensor([[0.0], [1e-200]], dtype=torch.float64), torch.zeros(1, 1))
    assert train_normalized.isfinite().all()


def test_normalize_takes_one_sample_images_and_doubles():
    one, _ = normalize(torch.tensor([[2.0, 3.0]]), torch.zeros(1, 2))
    assert torch.equal(one, torch.zeros(1, 2))
    images, none = normalize(torch.rand(9, 1, 8, 8, dtype=torch.float64, generator=seeded()), torch.zeros(0, 1, 8, 8))
    assert images.dtype == torch.float64
    torch.testing.assert_close(images.mean(0), torch.zeros(1, 8, 8, dtype=torch.float64), rtol=0, atol=1e-14)
    assert none.shape == (0, 1, 8, 8)


@pytest.mark.parametrize(
    ("train", "test", "kind", "message"),
    [
        (torch.ones(3, 2, dtype=torch.int64), torch.ones(3, 2), TypeError, "write train_inputs.float()"),
        (torch.ones(3, 2), [[1.0, 2.0]], TypeError, "write test_inputs.float()"),
        (torch.ones(0, 2), torch.ones(3, 2), ValueError, "give at least one sample"),
        (torch.tensor(1.0), torch.ones(3, 2), ValueError, "give at least one sample"),
        (torch.ones(3, 2), torch.ones(3, 4), ValueError, "samples of shape (2,)"),
        (torch.ones(3), torch.tensor(1.0), ValueError, "give both the same columns"),
    ],
)
def test_normalize_refuses(train, test, kind, message):
    with raises(kind, message):
        normalize(train, test)


# one_hot_encoding


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8])
def test_one_hot_encoding(dtype):
    targets = torch.tensor([2, 0, 1, 2], dtype=dtype)
    expected = torch.tensor([[0.0, 0, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    assert torch.equal(one_hot_encoding(targets), expected)
    assert torch.equal(one_hot_encoding(targets, 4), torch.cat([expected, torch.zeros(4, 1)], 1))
    doubles = one_hot_encoding(targets, 3, dtype=torch.float64)
    assert doubles.dtype == torch.float64
    assert torch.equal(doubles, expected.double())
    assert one_hot_encoding(targets[:0], 3).shape == (0, 3)


def test_one_hot_encoding_of_yes_and_no():
    assert torch.equal(one_hot_encoding(torch.tensor([True, False])), torch.tensor([[0.0, 1.0], [1.0, 0.0]]))


@pytest.mark.parametrize(
    ("targets", "nb_classes", "kind", "message"),
    [
        (torch.tensor([0, 3]), 3, ValueError, "targets[1] is 3, and with nb_classes=3 classes are 0 to 2"),
        (torch.tensor([0, 1, -1]), 3, ValueError, "targets[2] is -1"),
        (torch.tensor([0, 1, -1]), None, ValueError, "targets[2] is -1"),
        (torch.tensor([-2, -1]), None, ValueError, "targets[0] is -2"),
        (torch.tensor([0.0, 1.0]), 2, TypeError, "classes are integers, write targets.long()"),
        ([0, 1], 2, TypeError, "targets is list"),
        (torch.tensor([[0], [1]]), 2, ValueError, "has shape (2, 1)"),
        (torch.tensor([], dtype=torch.int64), None, ValueError, "write nb_classes=..."),
        (torch.tensor([0, 1]), 0, ValueError, "nb_classes is 0"),
        (torch.tensor([0, 1]), 2.0, TypeError, "nb_classes is float 2.0"),
    ],
)
def test_one_hot_encoding_refuses(targets, nb_classes, kind, message):
    with raises(kind, message):
        one_hot_encoding(targets, nb_classes)


# compute_nb_errors

SCORES = torch.tensor([[3.0, 1, 2], [0, 5, 1], [0, 1, 2], [9, 1, 1], [1, 0, 2]])  # classes 0, 1, 2, 0, 2
TARGETS = torch.tensor([0, 1, 0, 2, 2])  # two of them wrong


@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
@pytest.mark.parametrize("encode", [lambda t: t, one_hot_encoding, lambda t: one_hot_encoding(t).long()])
def test_errors_are_counted(batch_size, encode):
    errors = compute_nb_errors(nn.Identity(), SCORES, encode(TARGETS), batch_size)
    assert errors == 2
    assert type(errors) is int
    assert compute_nb_errors(nn.Identity(), SCORES, SCORES.argmax(1), batch_size) == 0


def test_a_score_that_is_no_number_is_an_error():
    scores = SCORES.clone()
    scores[0, 0] = math.nan  # argmax would take it for the largest, and so for right
    assert compute_nb_errors(nn.Identity(), scores, TARGETS) == 3


class Classify(nn.Module):
    """Scores by a layer; notes in which mode and how many points at a time, and what became of them."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(1)
        self.flatten = nn.Flatten()
        self.layer = nn.Linear(4, 2)
        self.calls: list[tuple[bool, bool, int, type]] = []

    def forward(self, x):
        y = self.layer(self.flatten(self.norm(x)))
        self.calls.append((self.training, self.norm.training, len(x), type(y)))
        if x.isinf().any():
            raise OverflowError("too large")
        return y


def test_evaluation_is_in_its_mode_unrecorded_and_leaves_no_trace():
    model = Classify()
    model.layer.eval()  # a mixture, as a frozen part of a model makes it
    before = {name: value.clone() for name, value in model.state_dict().items()}
    images, classes = torch.randn(5, 1, 2, 2, generator=seeded()), torch.tensor([0, 1, 0, 1, 0])
    compute_nb_errors(model, images, classes, batch_size=2)
    assert model.calls == [(False, False, n, Tensor) for n in (2, 2, 1)]
    with pytest.raises(OverflowError):
        compute_nb_errors(model, torch.full((5, 1, 2, 2), math.inf), classes)
    assert [module.training for module in (model, model.norm, model.flatten, model.layer)] == [True, True, True, False]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert type(model(images)) is nn.Variable  # recording again


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (("model", SCORES, TARGETS, 5), TypeError, "model is a str, expected an nn.Module"),
        ((nn.Identity(), SCORES, TARGETS[:4], 5), ValueError, "5 inputs and 4 targets"),
        ((nn.Identity(), SCORES[:0], TARGETS[:0], 5), ValueError, "inputs is empty"),
        ((nn.Identity(), SCORES, [0, 1, 0, 2, 2], 5), TypeError, "targets is a list: write torch.as_tensor(targets)"),
        ((nn.Identity(), SCORES, TARGETS, 0), ValueError, "batch_size is 0"),
        ((nn.Identity(), SCORES[:, :1], TARGETS, 5), ValueError, "two or more classes"),
        ((nn.Identity(), SCORES[:, 0], TARGETS, 5), ValueError, "two or more classes"),
        ((nn.Identity(), SCORES, TARGETS.unsqueeze(1), 5), ValueError, "expected classes (n), integers, or a one-hot"),
        ((nn.Identity(), SCORES, TARGETS.float(), 5), ValueError, "expected classes (n), integers"),
        ((nn.Identity(), SCORES, torch.zeros(5, 2), 5), ValueError, "or a one-hot encoding (n, 3)"),
    ],
)
def test_counting_errors_refuses(arguments, kind, message):
    with raises(kind, message):
        compute_nb_errors(*arguments)

"""The masks that dropout draws from a key: which they are, and that they are as good as random.

All of it is the same in every run. z is a count's distance from its mean, in standard deviations; a limit of 5 is
passed by chance once in 1.7 million.
"""

from __future__ import annotations

import importlib
import itertools

import pytest
import torch
from torch import Tensor

from modgrad import functional

COUNT = 2**16


def mask(seed: int = 0, step: int = 0, number: int = 0, p: float = 0.5, count: int = COUNT) -> Tensor:
    return functional.dropout_mask(functional.random_key(torch.tensor([seed, step]), number), (count,), p)


def z_of(a: Tensor, b: Tensor) -> float:
    """Of how often two masks with p = 0.5 agree."""
    return (int((a == b).sum()) - a.numel() / 2) / (a.numel() / 4) ** 0.5


def lowbias32(x: int) -> int:
    """As it was published, in unsigned 32 bits."""
    x ^= x >> 16
    x = x * 0x7FEB352D % 2**32
    x ^= x >> 15
    x = x * 0x846CA68B % 2**32
    return x ^ (x >> 16)


def test_hash_is_the_published_one() -> None:
    words = [0, 1, 2, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, *torch.randint(0, 2**32, (1000,)).tolist()]
    assert functional.hash32(torch.tensor(words)).tolist() == [lowbias32(word) for word in words]


def test_no_product_reaches_the_end_of_int64() -> None:
    dropout = importlib.import_module("modgrad.functional.dropout")  # whose name is also its function's
    largest = 2**32 - 1
    assert all(largest * abs(factor) < 2**63 for factor in (dropout._FIRST, dropout._SECOND))
    assert largest + dropout._CROSS * largest + largest < 2**63


def test_key_and_mask_by_hand() -> None:
    def key(seed: int, step: int, number: int) -> list[int]:
        a, b = (lowbias32(word % 2**32) ^ (word >> 32) % 2**32 for word in (seed, step))
        stride = (number + 1) * 0x9E3779B9
        return [lowbias32((x + 0x3C6EF372 * y + stride) % 2**32) for x, y in ((a, b), (b, a))]

    for seed, step, number in [(0, 0, 0), (7, 3, 2), (-1, 2**32 - 1, 10**6), (2**62 + 5, 1, 1)]:
        a, b = key(seed, step, number)
        made = functional.random_key(torch.tensor([seed, step]), number)
        assert made.tolist() == [a, b]
        expected = [lowbias32(b ^ lowbias32(a ^ i)) < round(0.7 * 2**32) for i in range(60)]
        found = functional.dropout_mask(made, (3, 4, 5), 0.3)
        assert found.dtype is torch.bool
        assert found.flatten().tolist() == expected


def test_depends_on_nothing_but_the_elements_number() -> None:
    key = functional.random_key(torch.tensor([1, 2]), 3)
    whole = functional.dropout_mask(key, (12, 5), 0.4)
    tiles = [functional.dropout_mask(key, (rows, 5), 0.4, first * 5) for first, rows in [(0, 3), (3, 4), (7, 5)]]
    assert torch.equal(torch.cat(tiles), whole)
    assert torch.equal(functional.dropout_mask(key, (20, 5), 0.4)[:12], whole), "of a larger batch"
    assert torch.equal(functional.dropout_mask(key, (60,), 0.4), whole.flatten())
    assert functional.dropout_mask(key, (), 0.4).shape == ()
    assert functional.dropout_mask(key, (0, 3), 0.4).shape == (0, 3)


def test_a_lower_p_keeps_what_a_higher_one_does() -> None:
    assert bool((mask(p=0.2) >= mask(p=0.7)).all())
    assert bool(mask(p=0.0).all())
    assert not bool(mask(p=1.0).any())


@pytest.mark.parametrize("p", [0.001, 0.1, 0.25, 0.5, 0.9])
def test_rate(p: float) -> None:
    """To 4 sigma for each mask of a few, and for all of them together."""
    counts = [int(mask(seed, step, number, p).sum()) for seed, step, number in itertools.product(range(3), repeat=3)]
    sigma = (COUNT * p * (1 - p)) ** 0.5
    assert all(abs(count - COUNT * (1 - p)) < 4 * sigma for count in counts)
    assert abs(sum(counts) - len(counts) * COUNT * (1 - p)) < 4 * sigma * len(counts) ** 0.5


def test_rate_of_small_masks() -> None:
    """The counts of many masks of 64 vary as a binomial's do: their squared z sum to chi-squared, 4 sigma of it."""
    counts = torch.tensor([int(mask(5, step, n, count=64).sum()) for step in range(200) for n in range(4)])
    squares = ((counts - 32.0) / 4) ** 2
    assert abs(float(squares.sum()) - 800) < 4 * (2 * 800) ** 0.5


def test_neighbours_are_independent() -> None:
    found = mask(3, 1, 4)
    z = [z_of(found[lag:], found[:-lag]) for lag in [*range(1, 70), 96, 100, 127, 128, 256, 512, 1000, 1024, 4096]]
    assert max(map(abs, z)) < 5
    assert sum(x * x for x in z) < len(z) + 4 * (2 * len(z)) ** 0.5


@pytest.mark.parametrize("p", [0.1, 0.5])
@pytest.mark.parametrize("which", ["seeds", "steps", "calls", "seed and step", "step and call"])
def test_masks_of_different_keys_are_independent(which: str, p: float) -> None:
    places = {
        "seeds": [(i, 0, 0) for i in range(12)],
        "steps": [(1, i, 0) for i in range(12)],
        "calls": [(1, 1, i) for i in range(12)],
        "seed and step": [(i, j, 0) for i in range(4) for j in range(4)],
        "step and call": [(2, i, j) for i in range(4) for j in range(4)],
    }[which]
    masks = torch.stack([mask(*place, p) for place in places]).double() - (1 - p)
    correlations = (masks @ masks.T) / (COUNT**0.5 * p * (1 - p))
    z = correlations[torch.triu(torch.ones_like(correlations), 1) == 1]
    assert float(z.abs().max()) < 5
    assert float((z**2).sum()) < z.numel() + 4 * (2 * z.numel()) ** 0.5
    shifted = [z_of(a[lag:], b[:-lag]) for a, b in itertools.pairwise(masks > 0) for lag in (1, 2, 4, 64)]
    if p == 0.5:
        assert max(map(abs, shifted)) < 5


def test_each_bit_in_changes_each_bit_out_half_of_the_time() -> None:
    words = torch.randint(0, 2**32, (2**14,))
    bits = torch.arange(32)
    for bit in range(32):
        changed = functional.hash32(words) ^ functional.hash32(words ^ (1 << bit))
        rates = ((changed.unsqueeze(1) >> bits) & 1).double().mean(0)
        assert float((rates - 0.5).abs().max()) < 0.03  # 5 sigma are 0.02; the hash is known to be a little biased


def test_birthday_spacings() -> None:
    """Of 2^12 words, how many gaps between neighbours in order are alike: Poisson, mean n^3 / 4m = 4.   Marsaglia."""
    alike = 0
    for number in range(100):
        key = functional.random_key(torch.tensor([9, 9]), number)
        words = functional.hash32(functional.hash32(torch.arange(2**12) ^ key[0]) ^ key[1])
        gaps = words.sort().values.diff()
        alike += gaps.numel() - gaps.unique().numel()
    assert abs(alike - 400) < 4 * 400**0.5

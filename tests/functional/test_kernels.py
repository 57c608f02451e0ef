"""Every function that has both bodies: kernel and formula are equal in float64."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from modgrad import functional
from modgrad.functional.kernel import PAIRS, running_formulas
from tests.functional.arguments import ARGUMENTS
from tests.functional.arguments.make import normal


def _flat(results: Any) -> Iterator[Tensor]:
    for result in results if isinstance(results, tuple) else (results,):
        yield from _flat(result) if isinstance(result, tuple) else (result,)


def test_every_pair_is_here() -> None:
    assert {pair.__name__ for pair in PAIRS} == set(ARGUMENTS)


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.__name__)
def test_kernel_equals_formula(pair: Any) -> None:
    for arguments in ARGUMENTS[pair.__name__]():
        state = torch.get_rng_state()  # those that draw are to draw the same
        fast = pair(*arguments)
        torch.set_rng_state(state)
        plain = pair.formula(*arguments)
        fast, plain = (list(_flat(x)) for x in (fast, plain))
        if "none" in arguments and pair.__name__ in ("cross_entropy", "nll_loss"):  # by nothing divided: D is not made
            fast, plain = fast[:-1], plain[:-1]
        for a, b in zip(fast, plain, strict=True):
            if a is None or b is None:
                assert a is b
                continue
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13, equal_nan=True)


def test_a_kernel_may_leave_it_to_the_formula() -> None:
    pair = functional.kernel(lambda x: NotImplemented if x else "kernel")(lambda x: "formula")
    assert (pair(0), pair(1)) == ("kernel", "formula")  # type: ignore[call-arg]
    PAIRS.remove(pair)


def test_formulas_context() -> None:
    ran = []
    pair = functional.kernel(lambda x: ran.append("kernel"))(lambda x: ran.append("formula"))
    PAIRS.remove(pair)
    pair(1)
    with functional.formulas():
        pair(1)
        with functional.formulas():
            assert running_formulas()
        assert running_formulas()
    pair(1)
    assert ran == ["kernel", "formula", "kernel"]


def test_class_index_out_of_range_raises_by_kernel_and_by_formula() -> None:
    for smoothing in (0.0, 0.1):
        with pytest.raises((IndexError, RuntimeError), match="out of bounds"):
            functional.cross_entropy(normal(2, 3), torch.tensor([0, 3]), label_smoothing=smoothing)


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_convolution_copies_no_stand_in(order: torch.memory_format) -> None:
    """The kernel is given a tensor of which it reads the shape alone, and copies what it finds in the wrong order."""
    x, weight = (torch.randn(s).to(memory_format=order) for s in ((2, 8, 6, 6), (4, 8, 3, 3)))
    options = [1, 1], [1, 1], [1, 1], 1
    grad = functional.convolution(x, weight, None, *options)
    with profile(activities=[ProfilerActivity.CPU]) as operations:
        for_input = functional.convolution_grad_input(grad, x.shape, weight, *options)
        for_weight = functional.convolution_grad_weight(grad, x, weight.shape, *options)
    assert for_input.is_contiguous(memory_format=order)
    assert for_weight.is_contiguous(memory_format=order)
    names = [event.name for event in operations.events()]
    assert names.count("aten::convolution_backward") == 2
    assert "aten::clone" not in names

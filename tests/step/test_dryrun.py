"""The dry run: it finds the operations of a step, changes nothing, and needs little."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from modgrad import optim
from modgrad.step.binding import Binding
from modgrad.step.dryrun import UntraceableError, dry_run
from tests.step.models import pictures, step_of_everything, tensors


def lines_of_everything() -> list[str]:
    step = step_of_everything(lambda p: optim.Adam(p, lr=0.01), clip=1.0)
    binding: Any = step.prepared(lambda: run(step))
    return binding


def run(step: Any) -> list[str]:
    binding = Binding(step)
    before = tensors(step)
    lines, (leaves, loss) = dry_run(step.names(), binding.pure(True), binding.leaves, binding.numbers, pictures())
    after = tensors(step)
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert [x.shape for x in leaves] == [x.shape for x in binding.leaves]
    assert loss.shape == ()
    return lines


def test_on_values_and_on_shadows_it_finds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    on_values = lines_of_everything()
    monkeypatch.setattr("modgrad.step.dryrun._SMALL", 0)
    assert lines_of_everything() == on_values
    assert len(on_values) > 200


def test_it_lists_operations_with_what_they_are_given() -> None:
    def function(x: torch.Tensor) -> torch.Tensor:
        return (x * 2 + torch.tensor([1.0, 2.0])).sum()

    lines, result = dry_run({}, function, torch.ones(3, 2))
    assert result == 21
    assert lines[0] == "aten.mul.Tensor %0 torch.float32(3, 2)(2, 1), 2"
    assert lines[-1].startswith("return %")
    other, _ = dry_run({}, function, torch.zeros(3, 2))
    assert other == lines


@pytest.mark.parametrize(
    "ask",
    [
        lambda x: x.sum().item(),
        lambda x: bool(x.sum() > 0),
        lambda x: int(x.argmax()),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: torch.equal(x, x + 1),
        lambda x: torch.masked_select(x, x > 0),
        lambda x: x.unique(),
        lambda x: torch.repeat_interleave(x.long()),
    ],
)
@pytest.mark.parametrize("small", [0, 10**9])
def test_asking_for_values_is_refused(ask: Any, small: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modgrad.step.dryrun._SMALL", small)
    with pytest.raises(UntraceableError, match="the step asks for the value of a tensor"):
        dry_run({}, ask, torch.ones(3))


@pytest.mark.parametrize("change", [lambda x: x.add_(1), lambda x: x[0].zero_(), lambda x: x.view(-1).copy_(x + 1)])
@pytest.mark.parametrize("small", [0, 10**9])
def test_changing_what_is_given_is_refused(change: Any, small: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modgrad.step.dryrun._SMALL", small)
    x = torch.ones(3, 2)
    with pytest.raises(UntraceableError, match="change a clone of it"):
        dry_run({}, change, x)
    assert torch.equal(x, torch.ones(3, 2))


def test_changing_what_the_step_made_is_not() -> None:
    lines, result = dry_run({}, lambda x: x.clone().add_(1)[:1].zero_(), torch.ones(3))
    assert result.shape == (1,)
    assert len(lines) > 3


def test_an_error_says_where_it_was_raised() -> None:
    with pytest.raises(RuntimeError) as caught:
        dry_run({}, lambda x: x @ x, torch.ones(3, 2))
    assert caught.value.__notes__ == ["Raised by the step, while its step was traced"]


@pytest.mark.parametrize("p", [0.0, 0.5])
def test_attention_draws_only_for_its_dropout(p: float) -> None:
    x = torch.randn(1, 2, 3, 4)
    attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default
    if not p:
        dry_run({}, lambda x: attention(x, x, x, p, True)[0], x)
        return
    with pytest.raises(UntraceableError, match="draws random numbers"):
        dry_run({}, lambda x: attention(x, x, x, p, True)[0], x)
